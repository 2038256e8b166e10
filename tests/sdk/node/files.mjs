// The openai-node SDK, unchanged, on files, uploads and batches.
// usage: node files.mjs BASE_URL   (exits non-zero when anything differs)
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "unused", maxRetries: 0 });
const model = (await client.models.list()).data[0].id;

const ids = [];
for (let index = 0; index < 5; index++) {
  const file = await toFile(Buffer.from("x".repeat(index)), `${index}.txt`);
  ids.push((await client.files.create({ file, purpose: "evals" })).id);
}
const walked = [];
for await (const file of client.files.list({ purpose: "evals", limit: 2, order: "asc" })) {
  walked.push(file.id);
}
assert.deepEqual(walked, ids);
assert.equal(await (await client.files.content(ids[3])).text(), "xxx");
for (const id of ids) assert.ok((await client.files.delete(id)).deleted);
await assert.rejects(client.files.retrieve(ids[0]), OpenAI.NotFoundError);

const data = Buffer.alloc(700_000, "abcdefg");
const upload = await client.uploads.create({
  bytes: data.length,
  filename: "a.txt",
  mime_type: "text/plain",
  purpose: "assistants",
});
const part_ids = [];
for (let start = 0; start < data.length; start += 300_000) {
  const part = await toFile(data.subarray(start, start + 300_000), "part");
  part_ids.push((await client.uploads.parts.create(upload.id, { data: part })).id);
}
const done = await client.uploads.complete(upload.id, { part_ids });
assert.equal(done.status, "completed");
const content = await (await client.files.content(done.file.id)).arrayBuffer();
assert.ok(Buffer.from(content).equals(data));

const lines = Array.from({ length: 6 }, (_, index) =>
  JSON.stringify({
    custom_id: `line-${index}`,
    method: "POST",
    url: "/v1/completions",
    body: { model, prompt: "one two", max_tokens: 4, temperature: 0 },
  }),
);
const input = await client.files.create({
  file: await toFile(Buffer.from(lines.join("\n")), "in.jsonl"),
  purpose: "batch",
});
let batch = await client.batches.create({
  input_file_id: input.id,
  endpoint: "/v1/completions",
  completion_window: "24h",
});
while (!["completed", "failed"].includes(batch.status)) {
  await sleep(200);
  batch = await client.batches.retrieve(batch.id);
}
assert.equal(batch.status, "completed");
assert.deepEqual(batch.request_counts, { total: 6, completed: 6, failed: 0 });
const output = await (await client.files.content(batch.output_file_id)).text();
const results = output.trim().split("\n").map((line) => JSON.parse(line));
assert.deepEqual(results.map((each) => each.custom_id), lines.map((_, index) => `line-${index}`));
const listed = [];
for await (const each of client.batches.list({ limit: 1 })) listed.push(each.id);
assert.ok(listed.includes(batch.id));
