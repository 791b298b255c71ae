// The official Anthropic client for Node, by its streaming, parsing and tool-running helpers.
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";

import * as seen from "./seen.mjs";

const max_tokens = seen.LIMIT;
const messages = (content) => [{ role: "user", content }];
const tokens = ({ input_tokens, output_tokens }) => [input_tokens, output_tokens];
const textOf = ({ content }) =>
  content
    .filter((block) => block.type === "text")
    .map((block) => block.text)
    .join("");
const said = (reply) => ({ text: textOf(reply), finish: reply.stop_reason, tokens: tokens(reply.usage) });

async function streamed(client, model) {
  const stream = client.messages.stream({
    model,
    max_tokens,
    system: seen.SYSTEM,
    messages: messages(seen.QUESTION),
  });
  let text = "";
  stream.on("text", (delta) => (text += delta));
  const reply = await stream.finalMessage();
  seen.same(text, textOf(reply));
  return said(reply);
}

async function loop(client, model) {
  const calls = [];
  const tool = betaZodTool({
    name: "get_weather",
    description: "The weather in a city.",
    inputSchema: seen.City,
    run: (city) => {
      calls.push({ name: "get_weather", arguments: city });
      return seen.weather(city);
    },
  });
  const asked = { model, max_tokens, messages: messages(seen.WEATHER_QUESTION), tools: [tool] };
  const finishes = [];
  let reply;
  for await (const stream of client.beta.messages.toolRunner({ ...asked, stream: true })) {
    reply = await stream.finalMessage();
    finishes.push(reply.stop_reason);
  }
  return { calls, finishes, text: textOf(reply), tokens: tokens(reply.usage) };
}

async function structured(client, model) {
  const format = zodOutputFormat(seen.Country);
  const asked = { model, max_tokens, messages: messages(seen.COUNTRY_QUESTION), output_config: { format } };
  const plain = await client.messages.parse(asked);
  const { parsed_output } = await client.messages.stream(asked).finalMessage();
  seen.same(JSON.stringify(parsed_output), JSON.stringify(plain.parsed_output));
  return parsed_output;
}

await seen.show(async ({ url, key, model }) => {
  const settings = { baseURL: url, apiKey: key, maxRetries: 0 };
  const client = new Anthropic(settings);
  const stranger = new Anthropic({ ...settings, apiKey: "sk-wrong" });
  const ask = (asked, name, talk) =>
    asked.messages.create({ model: name, max_tokens, system: seen.SYSTEM, messages: talk });
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
