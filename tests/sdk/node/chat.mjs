// The openai-node SDK, unchanged: whole, streamed and through the stream helper.
// usage: node chat.mjs BASE_URL   (exits non-zero when anything differs)
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "unused", maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const request = {
  model,
  messages: [{ role: "user", content: "What is servax?" }],
  temperature: 0,
};

const whole = await client.chat.completions.create(request);
const text = whole.choices[0].message.content;
assert.match(text, /servax/i);

let streamed = "";
for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
assert.equal(streamed, text);

const helper = client.chat.completions.stream({
  ...request,
  stream_options: { include_usage: true },
});
let deltas = "";
helper.on("content", (delta) => (deltas += delta));
const final = await helper.finalChatCompletion();
assert.equal(final.choices[0].message.content, text);
assert.equal(deltas, text);
assert.equal(final.choices[0].finish_reason, "stop");
assert.equal((await helper.totalUsage()).completion_tokens, whole.usage.completion_tokens);

const many = await Promise.all(
  Array.from({ length: 16 }, () => client.chat.completions.create(request)),
);
assert.ok(many.every((answer) => answer.choices[0].message.content === text));

await assert.rejects(client.chat.completions.create({ ...request, temperature: 3 }), (error) => {
  assert.equal(error.status, 400);
  assert.equal(error.param, "temperature");
  return true;
});

const aborted = await client.chat.completions.create({ ...request, stream: true });
aborted.controller.abort();
console.log("openai-node: passed");
