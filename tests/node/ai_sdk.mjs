// Vercel's AI SDK on each of its providers that may be given a base URL: the form is the last argument.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";

import * as seen from "./seen.mjs";

const FORMS = {
  compatible: ({ url, key, model }) =>
    createOpenAICompatible({
      name: "farebox",
      baseURL: `${url}/v1`,
      apiKey: key,
      includeUsage: true,
      supportsStructuredOutputs: true,
    })(model),
  chat: ({ url, key, model }) => createOpenAI({ baseURL: `${url}/v1`, apiKey: key }).chat(model),
  responses: ({ url, key, model }) => createOpenAI({ baseURL: `${url}/v1`, apiKey: key }).responses(model),
  anthropic: ({ url, key, model }) => createAnthropic({ baseURL: `${url}/v1`, apiKey: key })(model),
  // It would leave `models/` out of the path of a model with a slash in its name.
  google: ({ url, key, model }) =>
    createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey: key })(`models/${model}`),
};

const tokens = ({ inputTokens, outputTokens }) => [inputTokens, outputTokens];

function fail({ error }) {
  throw error;
}

async function read(stream) {
  let text = "";
  for await (const part of stream.fullStream) {
    if (part.type === "text-delta") text += part.text;
    if (part.type === "error") throw part.error;
  }
  seen.same(text, await stream.text);
  return { text, finish: await stream.finishReason, tokens: tokens(await stream.usage) };
}

async function loop(model) {
  const calls = [];
  const get_weather = tool({
    description: "The weather in a city.",
    inputSchema: seen.City,
    execute: (city) => {
      calls.push({ name: "get_weather", arguments: city });
      return seen.weather(city);
    },
  });
  const stream = streamText({
    model,
    system: seen.SYSTEM,
    prompt: seen.WEATHER_QUESTION,
    tools: { get_weather },
    stopWhen: stepCountIs(4),
    maxRetries: 0,
    onError: fail,
  });
  const { text, tokens: spent } = await read(stream);
  const steps = await stream.steps;
  return { calls, finishes: steps.map((step) => step.finishReason), text, tokens: spent };
}

async function structured(model) {
  const asked = {
    model,
    prompt: seen.COUNTRY_QUESTION,
    output: Output.object({ schema: seen.Country }),
    maxRetries: 0,
  };
  const plain = (await generateText(asked)).output;
  const stream = streamText({ ...asked, onError: fail });
  await stream.consumeStream();
  seen.same(JSON.stringify(await stream.output), JSON.stringify(plain));
  return plain;
}

globalThis.AI_SDK_LOG_WARNINGS = false; // They would go where the answer goes.
await seen.show(async (ask) => {
  const model = FORMS[ask.form](ask);
  const asked = {
    model,
    system: seen.SYSTEM,
    prompt: seen.QUESTION,
    maxOutputTokens: seen.LIMIT,
    maxRetries: 0,
  };
  const plain = await generateText(asked);
  return {
    plain: { text: plain.text, finish: plain.finishReason, tokens: tokens(plain.usage) },
    streamed: await read(streamText({ ...asked, onError: fail })),
    loop: await loop(model),
    structured: await structured(model),
    errors: {
      key: await seen.failure(() =>
        generateText({ ...asked, model: FORMS[ask.form]({ ...ask, key: "sk-wrong" }) }),
      ),
      model: await seen.failure(() =>
        generateText({ ...asked, model: FORMS[ask.form]({ ...ask, model: "nobody/knows-it" }) }),
      ),
    },
  };
});
