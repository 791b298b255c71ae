// The official Node client against a running server: node client.mjs BASE_URL KEY SLOW_KEY; prints what it saw as JSON.
import OpenAI from "openai";

const [baseURL, apiKey, slowKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const model = "openai/gpt-4o-mini";
const system = { role: "system", content: "You are a concise assistant." };
const ask = (content) => [system, { role: "user", content }];

async function failure(call) {
  try {
    await call();
  } catch (error) {
    return [error.constructor.name, error.status].filter(Boolean).join(" ");
  }
  return "no error";
}

async function read(stream) {
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  return { text, usage };
}

const question = ask("What does one fare cost?");
const plain = await client.chat.completions.create({ model, messages: question });
const streamed = await read(
  await client.chat.completions.create({
    model,
    messages: question,
    stream: true,
    stream_options: { include_usage: true },
  }),
);

const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "get_weather", parameters: city } }];
const weather = ask("What is the weather in Paris?");
const first = await client.chat.completions.create({ model, messages: weather, tools });
const asked = first.choices[0].message;
const result = { role: "tool", tool_call_id: asked.tool_calls[0].id, content: "sunny" };
const second = await client.chat.completions.create({ model, tools, messages: [...weather, asked, result] });

const schema = {
  type: "object",
  properties: { capital: { type: "string" }, population: { type: "integer" } },
  required: ["capital", "population"],
  additionalProperties: false,
};
const parsed = await client.chat.completions.parse({
  model,
  messages: ask("France?"),
  response_format: { type: "json_schema", json_schema: { name: "country", schema, strict: true } },
});

const other = new OpenAI({ baseURL, apiKey: "sk-wrong", maxRetries: 0 });
const slow = new OpenAI({ baseURL, apiKey: slowKey, maxRetries: 0 }); // One call a minute.
await failure(() => slow.chat.completions.create({ model, messages: question }));
console.log(
  JSON.stringify({
    plain: plain.choices[0].message.content,
    streamed: streamed.text,
    usage: streamed.usage,
    tool: asked.tool_calls[0].function,
    told: second.choices[0].message.content,
    parsed: JSON.parse(parsed.choices[0].message.content),
    errors: {
      key: await failure(() => other.chat.completions.create({ model, messages: question })),
      model: await failure(() => client.chat.completions.create({ model: "no/such-model", messages: question })),
      body: await failure(() => client.chat.completions.create({ model, messages: [] })),
      rate: await failure(() => slow.chat.completions.create({ model, messages: question })),
      provider: await failure(() => client.chat.completions.create({ model, messages: ask("sandbox:error 429") })),
      stream: await failure(async () =>
        read(await client.chat.completions.create({ model, messages: ask("sandbox:cut 3"), stream: true })),
      ),
    },
    models: (await client.models.list()).data.length,
  }),
);
