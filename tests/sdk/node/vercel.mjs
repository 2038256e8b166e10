// The Vercel AI SDK, unchanged: generateText, streamText, a loop of tools, thoughts and errors.
// usage: node vercel.mjs BASE_URL   (exits non-zero when anything differs)
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const servax = createOpenAICompatible({
  name: "servax",
  baseURL: `${process.argv[2]}/v1`,
  apiKey: "unused",
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const model = servax("servax-tiny");
const common = { model, temperature: 0, maxRetries: 0 };

const whole = await generateText({ ...common, prompt: "What is servax?" });
assert.match(whole.text, /servax/i);
assert.equal(whole.finishReason, "stop");
assert.ok(whole.usage.inputTokens > 0);

const streamed = streamText({ ...common, prompt: "What is servax?" });
let text = "";
for await (const piece of streamed.textStream) text += piece;
assert.equal(text, whole.text);
assert.equal((await streamed.usage).outputTokens, whole.usage.outputTokens);

const asked = [];
const city = jsonSchema({
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
});
const weather = {
  ...common,
  prompt: "What is the weather in Paris?",
  stopWhen: stepCountIs(3),
  tools: {
    get_weather: tool({
      description: "Get the weather",
      inputSchema: city, // zod's would begin with $schema, which distracts so small a model
      execute: async ({ city }) => (asked.push(city), { weather: "sunny" }),
    }),
  },
};
const looped = await generateText(weather);
assert.deepEqual(asked, ["Paris"]);
assert.equal(looped.steps.length, 2);
assert.match(looped.text, /sunny/);

const loop = streamText(weather);
await loop.consumeStream();
assert.deepEqual(asked, ["Paris", "Paris"]);
assert.equal(await loop.text, looped.text);

const thought = await generateText({
  ...common,
  prompt: "What is 12 + 30?",
  providerOptions: { servax: { reasoningEffort: "high" } },
});
assert.match(thought.reasoningText, /42/);

const failing = [
  [{ temperature: 3 }, 400],
  [{ model: servax("no-such-model") }, 404],
];
for (const [fields, status] of failing) {
  await assert.rejects(generateText({ ...common, ...fields, prompt: "hi" }), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, status);
    return true;
  });
}
const schema = z.object({ city: z.enum(["Paris", "London"]) });
const made = await generateObject({ ...common, schema, prompt: "A city, please: Paris" });
assert.match(made.object.city, /^(Paris|London)$/);
console.log("vercel: passed");
