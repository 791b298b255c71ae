// What every client says of what it saw, in the form that tests/support/sdk/seen.py describes.
import { z } from "zod";

export const SYSTEM = "You are a concise assistant.";
export const QUESTION = "What is the capital of France?";
export const WEATHER_QUESTION = "What is the weather in Paris?";
export const COUNTRY_QUESTION = "Tell me about France.";
export const LIMIT = 400; // Tokens of one answer.

export const City = z.object({ city: z.string() });
export const Country = z.object({
  capital: z.string(),
  population: z.number().int(),
  languages: z.array(z.string()),
});

export const weather = ({ city }) => `rain, 12 degrees in ${city}`;

export function same(one, other) {
  if (one !== other) throw new Error(`${JSON.stringify(one)} is not ${JSON.stringify(other)}`);
  return one;
}

// The class and the status of the error that a call ends in.
export async function failure(call) {
  try {
    await call();
  } catch (error) {
    return [error.name === "Error" ? error.constructor.name : error.name, error.status ?? error.statusCode].filter(Boolean).join(" ");
  }
  return "no error";
}

// Be the process: read the arguments, look, print.
export async function show(look) {
  const [url, key, model, form] = process.argv.slice(2);
  console.log(JSON.stringify(await look({ url, key, model, form })));
}
