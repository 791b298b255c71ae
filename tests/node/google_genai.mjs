// The official Google Gen AI client for Node, by a chat that keeps the talk.
import { GoogleGenAI } from "@google/genai";
import { z } from "zod";

import * as seen from "./seen.mjs";

const WEATHER = {
  functionDeclarations: [
    {
      name: "get_weather",
      description: "The weather in a city.",
      parametersJsonSchema: z.toJSONSchema(seen.City),
    },
  ],
};

const partsOf = (chunks) => chunks.flatMap((chunk) => chunk.candidates?.[0]?.content?.parts ?? []);
const finishOf = (chunks) => chunks.map((chunk) => chunk.candidates?.[0]?.finishReason).find(Boolean);

function said(chunks) {
  const { promptTokenCount, candidatesTokenCount } = chunks.at(-1).usageMetadata;
  return {
    text: partsOf(chunks)
      .map((part) => part.text ?? "")
      .join(""),
    finish: finishOf(chunks),
    tokens: [promptTokenCount, candidatesTokenCount],
  };
}

async function all(stream) {
  const chunks = [];
  for await (const chunk of await stream) chunks.push(chunk);
  return chunks;
}

async function loop(client, model) {
  const chat = client.chats.create({ model, config: { tools: [WEATHER] } });
  const calls = [];
  const finishes = [];
  let message = seen.WEATHER_QUESTION;
  for (;;) {
    const chunks = await all(chat.sendMessageStream({ message }));
    finishes.push(finishOf(chunks));
    const called = chunks.flatMap((chunk) => chunk.functionCalls ?? []);
    const { text, tokens } = said(chunks);
    if (!called.length) return { calls, finishes, text, tokens };
    message = called.map(({ id, name, args }) => {
      calls.push({ name, arguments: args });
      return { functionResponse: { id, name, response: { result: seen.weather(args) } } };
    });
  }
}

async function structured(client, model) {
  const config = {
    responseMimeType: "application/json",
    responseJsonSchema: z.toJSONSchema(seen.Country),
  };
  const reply = await client.models.generateContent({ model, contents: seen.COUNTRY_QUESTION, config });
  return seen.Country.parse(JSON.parse(reply.text));
}

await seen.show(async ({ url, key, model }) => {
  const clientOf = (apiKey) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: url } });
  const client = clientOf(key);
  const config = { systemInstruction: seen.SYSTEM, maxOutputTokens: seen.LIMIT };
  const ask = (asked, name, contents) => asked.models.generateContent({ model: name, contents, config });
  const counted = await client.models.countTokens({ model, contents: seen.QUESTION });
  if (!(counted.totalTokens > 0)) throw new Error("no tokens were counted");
  return {
    plain: said([await ask(client, model, seen.QUESTION)]),
    streamed: said(
      await all(client.models.generateContentStream({ model, contents: seen.QUESTION, config })),
    ),
    loop: await loop(client, model),
    structured: await structured(client, model),
    errors: {
      key: await seen.failure(() => ask(clientOf("sk-wrong"), model, seen.QUESTION)),
      model: await seen.failure(() => ask(client, "nobody/knows-it", seen.QUESTION)),
      body: await seen.failure(() => ask(client, model, [{ role: "nobody", parts: [{ text: "?" }] }])),
    },
  };
});
