// The official OpenAI client for Node on chat completions, by its streaming, tool-running and parsing helpers.
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";

import * as seen from "./seen.mjs";

const messages = (content) => [
  { role: "system", content: seen.SYSTEM },
  { role: "user", content },
];
const tokens = ({ prompt_tokens, completion_tokens }) => [prompt_tokens, completion_tokens];

function said({ choices: [choice], usage }) {
  return { text: choice.message.content, finish: choice.finish_reason, tokens: tokens(usage) };
}

async function streamed(client, model) {
  const stream = client.chat.completions.stream({
    model,
    messages: messages(seen.QUESTION),
    stream_options: { include_usage: true },
  });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  const reply = await stream.finalChatCompletion();
  seen.same(text, reply.choices[0].message.content);
  return said(reply);
}

async function loop(client, model) {
  const calls = [];
  const run = ({ city }) => {
    calls.push({ name: "get_weather", arguments: { city } });
    return seen.weather({ city });
  };
  const tool = zodFunction({
    name: "get_weather",
    description: "The weather in a city.",
    parameters: seen.City,
    function: run,
  });
  const runner = client.chat.completions.runTools({
    model,
    messages: messages(seen.WEATHER_QUESTION),
    tools: [tool],
    stream: true,
    stream_options: { include_usage: true },
  });
  const text = await runner.finalContent();
  const replies = runner.allChatCompletions();
  return {
    calls,
    finishes: replies.map((reply) => reply.choices[0].finish_reason),
    text,
    tokens: tokens(replies.at(-1).usage),
  };
}

async function structured(client, model) {
  const asked = {
    model,
    messages: messages(seen.COUNTRY_QUESTION),
    response_format: zodResponseFormat(seen.Country, "country"),
  };
  const plain = await client.chat.completions.parse(asked);
  const reply = await client.chat.completions.stream(asked).finalChatCompletion();
  const { parsed } = reply.choices[0].message;
  seen.same(JSON.stringify(parsed), JSON.stringify(plain.choices[0].message.parsed));
  return parsed;
}

await seen.show(async ({ url, key, model }) => {
  const settings = { baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 };
  const client = new OpenAI(settings);
  const stranger = new OpenAI({ ...settings, apiKey: "sk-wrong" });
  const ask = (asked, name, talk) =>
    asked.chat.completions.create({ model: name, messages: talk, max_completion_tokens: seen.LIMIT });
  const question = messages(seen.QUESTION);
  return {
    plain: said(await ask(client, model, question)),
    streamed: await streamed(client, model),
    loop: await loop(client, model),
    structured: await structured(client, model),
    errors: {
      key: await seen.failure(() => ask(stranger, model, question)),
      model: await seen.failure(() => ask(client, "nobody/knows-it", question)),
      body: await seen.failure(() => ask(client, model, [])),
    },
  };
});
