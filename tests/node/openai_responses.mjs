// The official OpenAI client for Node on responses, by its streaming and parsing helpers.
import OpenAI from "openai";
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";

import * as seen from "./seen.mjs";

const WEATHER = zodResponsesFunction({
  name: "get_weather",
  description: "The weather in a city.",
  parameters: seen.City,
});
const tokens = ({ input_tokens, output_tokens }) => [input_tokens, output_tokens];
const said = (reply) => ({ text: reply.output_text, finish: reply.status, tokens: tokens(reply.usage) });

async function streamed(client, model) {
  const stream = client.responses.stream({
    model,
    instructions: seen.SYSTEM,
    input: seen.QUESTION,
    store: false,
  });
  let text = "";
  stream.on("response.output_text.delta", ({ delta }) => (text += delta));
  const reply = await stream.finalResponse();
  seen.same(text, reply.output_text);
  return said(reply);
}

// Every step sends the whole talk again; the items that came go back as they are.
async function loop(client, model) {
  const input = [{ role: "user", content: seen.WEATHER_QUESTION }];
  const calls = [];
  const finishes = [];
  for (;;) {
    const asked = { model, instructions: seen.SYSTEM, input, tools: [WEATHER], store: false };
    const reply = await client.responses.stream(asked).finalResponse();
    finishes.push(reply.status);
    const called = reply.output.filter((item) => item.type === "function_call");
    if (!called.length) return { calls, finishes, text: reply.output_text, tokens: tokens(reply.usage) };
    input.push(...reply.output);
    for (const { name, parsed_arguments, call_id } of called) {
      calls.push({ name, arguments: parsed_arguments });
      input.push({ type: "function_call_output", call_id, output: seen.weather(parsed_arguments) });
    }
  }
}

async function structured(client, model) {
  const format = zodTextFormat(seen.Country, "country");
  const asked = { model, input: seen.COUNTRY_QUESTION, text: { format }, store: false };
  const plain = await client.responses.parse(asked);
  const { output_parsed } = await client.responses.stream(asked).finalResponse();
  seen.same(JSON.stringify(output_parsed), JSON.stringify(plain.output_parsed));
  return output_parsed;
}

await seen.show(async ({ url, key, model }) => {
  const settings = { baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 };
  const client = new OpenAI(settings);
  const stranger = new OpenAI({ ...settings, apiKey: "sk-wrong" });
  const ask = (asked, name, input) =>
    asked.responses.create({
      model: name,
      instructions: seen.SYSTEM,
      input,
      max_output_tokens: seen.LIMIT,
      store: false,
    });
  return {
    plain: said(await ask(client, model, seen.QUESTION)),
    streamed: await streamed(client, model),
    loop: await loop(client, model),
    structured: await structured(client, model),
    errors: {
      key: await seen.failure(() => ask(stranger, model, seen.QUESTION)),
      model: await seen.failure(() => ask(client, "nobody/knows-it", seen.QUESTION)),
      body: await seen.failure(() => ask(client, model, [])),
    },
  };
});
