// The openai-node SDK with zod: parse, the stream helper with a format, and runTools.
// usage: node zod.mjs BASE_URL   (exits non-zero when anything differs)
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "unused", maxRetries: 0 });
const common = { model: "servax-tiny", temperature: 0, max_tokens: 200 };

const Fact = z.object({ answer: z.string().regex(/^The capital of [A-Z][a-z]+ is [A-Z][a-z]+\.$/) });
const asked = {
  ...common,
  messages: [{ role: "user", content: "What is the capital of Italy?" }],
  response_format: zodResponseFormat(Fact, "fact"),
  chat_template_kwargs: { enable_thinking: false },
};
const parsed = await client.chat.completions.parse(asked);
assert.deepEqual(parsed.choices[0].message.parsed, { answer: "The capital of Italy is Rome." });

const stream = client.chat.completions.stream(asked);
let text = "";
stream.on("content", (delta) => (text += delta));
const final = await stream.finalChatCompletion();
assert.equal(text, parsed.choices[0].message.content);
assert.deepEqual(final.choices[0].message.parsed, { answer: "The capital of Italy is Rome." });

const cities = [];
const City = z.object({ city: z.string() });
// zod's schema would begin with $schema, which distracts so small a model
const plain = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
function weather(options = {}) {
  const tool = zodFunction({
    name: "get_weather",
    description: "Get the weather",
    parameters: City,
    function: ({ city }) => (cities.push(city), { weather: "sunny" }),
    ...options,
  });
  tool.function.parameters = plain;
  return tool;
}
const question = [{ role: "user", content: "What is the weather in Paris?" }];
const runner = client.chat.completions.runTools({ ...common, messages: question, tools: [weather()] });
const told = await runner.finalContent();
assert.deepEqual(cities, ["Paris"]);
assert.match(told, /sunny/);
assert.equal(runner.messages.filter((message) => message.role === "tool").length, 1);

const streamed = client.chat.completions.runTools({
  ...common,
  stream: true,
  messages: question,
  tools: [weather()],
});
assert.equal(await streamed.finalContent(), told);
assert.deepEqual(cities, ["Paris", "Paris"]);

const call = await client.chat.completions.parse({
  ...common,
  messages: question,
  tools: [weather()],
  tool_choice: "required",
});
const [made] = call.choices[0].message.tool_calls;
assert.deepEqual(made.function.parsed_arguments, { city: "Paris" });

await assert.rejects(
  client.chat.completions.parse({ ...asked, max_tokens: 3 }),
  (error) => error.constructor.name === "LengthFinishReasonError",
);
console.log("openai-node with zod: passed");
