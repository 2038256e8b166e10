// Responses, conversations and stored completions through the openai-node SDK, unchanged.
// usage: node responses.mjs BASE_URL   (exits non-zero when anything differs)
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "unused", maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const tool = {
  type: "function",
  name: "get_weather",
  description: "Get the weather",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
  },
  strict: null,
};
const question = "What is the weather in Paris?";
const answer = (call) => ({
  type: "function_call_output",
  call_id: call.call_id,
  output: '{"weather": "sunny"}',
});

const whole = await client.responses.create({ model, input: "What is servax?", temperature: 0 });
assert.match(whole.output_text, /servax/i);

const stream = client.responses.stream({ model, input: "What is servax?", temperature: 0 });
let deltas = "";
let number = 0;
stream.on("response.output_text.delta", (event) => (deltas += event.delta));
stream.on("event", (event) => assert.equal(event.sequence_number, number++));
const final = await stream.finalResponse();
assert.equal(final.output_text, whole.output_text);
assert.equal(deltas, whole.output_text);

const rest = [];
for await (const event of await client.responses.retrieve(final.id, {
  stream: true,
  starting_after: 4,
})) {
  rest.push(event.sequence_number);
}
assert.deepEqual(rest, Array.from({ length: number - 5 }, (_, index) => index + 5));

const thinking = client.responses.stream({
  model,
  input: "What is 12 + 30?",
  temperature: 0,
  reasoning: { effort: "high", summary: "auto" },
});
const thought = await thinking.finalResponse();
assert.deepEqual(thought.output.map((item) => item.type), ["reasoning", "message"]);
assert.match(thought.output_text, /42/);

const first = await client.responses.create({ model, input: question, tools: [tool], temperature: 0 });
const second = await client.responses.create({
  model,
  previous_response_id: first.id,
  input: [answer(first.output[0])],
  tools: [tool],
  temperature: 0,
});
assert.match(second.output_text, /sunny/);

const held = client.responses.stream({
  model,
  input: question,
  tools: [tool],
  temperature: 0,
  tool_outputs_mode: "hold",
});
held.on("event", async (event) => {
  if (event.type === "response.output_item.done" && event.item.type === "function_call") {
    const { call_id, output } = answer(event.item);
    const id = held._currentId;
    await client.post(`/responses/${id}/tool_outputs`, { body: { tool_call_id: call_id, output } });
  } else if (event.type === "response.created") {
    held._currentId = event.response.id;
  }
});
const continued = await held.finalResponse();
assert.match(continued.output_text, /sunny/);

const conversation = await client.conversations.create({
  items: [{ type: "message", role: "user", content: "hello" }],
});
await client.responses.create({ model, input: "hi", conversation: conversation.id });
let count = 0;
for await (const item of client.conversations.items.list(conversation.id, { limit: 1 })) {
  assert.ok(item.id);
  count += 1;
}
assert.ok(count >= 3);
await client.conversations.delete(conversation.id);

const kept = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "hi" }],
  store: true,
  metadata: { run: String(Date.now()) },
});
const listed = await client.chat.completions.list({ metadata: kept.metadata });
assert.equal(listed.data[0].id, kept.id);
await client.chat.completions.delete(kept.id);

await client.responses.delete(whole.id);
await assert.rejects(client.responses.retrieve(whole.id), (error) => error.status === 404);
await assert.rejects(
  client.responses.create({ model, input: "hi", tools: [{ type: "web_search" }] }),
  (error) => error.status === 400 && error.param === "tools[0].type",
);
console.log("openai-node responses: passed");
