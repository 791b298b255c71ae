"""The official OpenAI client for Python on chat completions, by its streaming and parsing helpers."""

from __future__ import annotations

from typing import Any

import openai
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam, ParsedChatCompletion
from pydantic import BaseModel

from tests.support.sdk import seen


class Weather(BaseModel):
    """The weather in a city."""

    city: str


class Country(BaseModel):
    capital: str
    population: int
    languages: list[str]


WEATHER = openai.pydantic_function_tool(Weather, name="get_weather")


def look(ask: seen.Ask) -> seen.Seen:
    """Try everything once."""
    with OpenAI(base_url=f"{ask.url}/v1", api_key=ask.key, max_retries=0, timeout=30) as client:
        question = messages(seen.QUESTION)
        plain = client.chat.completions.create(
            model=ask.model, messages=question, max_completion_tokens=seen.LIMIT
        )
        return {
            "plain": said(plain, plain.choices[0].message.content or ""),
            "streamed": streamed(client, ask.model),
            "loop": loop(client, ask.model),
            "structured": structured(client, ask.model),
            "errors": errors(client, ask),
        }


def messages(question: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "system", "content": seen.SYSTEM}, {"role": "user", "content": question}]


def said(reply: ChatCompletion | ParsedChatCompletion[None], text: str) -> seen.Said:
    return {"text": text, "finish": reply.choices[0].finish_reason, "tokens": tokens(reply)}


def tokens(reply: ChatCompletion | ParsedChatCompletion[None]) -> list[int]:
    assert reply.usage is not None
    return [reply.usage.prompt_tokens, reply.usage.completion_tokens]


def streamed(client: OpenAI, model: str) -> seen.Said:
    text = ""
    with client.chat.completions.stream(
        model=model, messages=messages(seen.QUESTION), stream_options={"include_usage": True}
    ) as stream:
        for event in stream:
            if event.type == "content.delta":
                text += event.delta
        reply = stream.get_final_completion()
    assert reply.choices[0].message.content == text
    return said(reply, text)


def loop(client: OpenAI, model: str) -> seen.Looped:
    talk = messages(seen.WEATHER_QUESTION)
    calls: list[seen.Called] = []
    finishes: list[str | None] = []
    while True:
        with client.chat.completions.stream(
            model=model, messages=talk, tools=[WEATHER], stream_options={"include_usage": True}
        ) as stream:
            reply = stream.get_final_completion()
        message = reply.choices[0].message
        finishes.append(reply.choices[0].finish_reason)
        if not message.tool_calls:
            break
        answered: Any = message  # Sent back with what the helper parsed in it, as the SDK's own pages do.
        talk.append(answered)
        for call in message.tool_calls:
            asked = call.function.parsed_arguments
            assert isinstance(asked, Weather)
            calls.append({"name": call.function.name, "arguments": asked.model_dump()})
            talk.append({"role": "tool", "tool_call_id": call.id, "content": seen.weather(asked.city)})
    return {"calls": calls, "finishes": finishes, "text": message.content or "", "tokens": tokens(reply)}


def structured(client: OpenAI, model: str) -> dict[str, object]:
    question = messages(seen.COUNTRY_QUESTION)
    plain = client.chat.completions.parse(model=model, messages=question, response_format=Country)
    with client.chat.completions.stream(model=model, messages=question, response_format=Country) as stream:
        country = stream.get_final_completion().choices[0].message.parsed
    assert country is not None
    assert country == plain.choices[0].message.parsed
    return country.model_dump()


def errors(client: OpenAI, ask: seen.Ask) -> dict[str, str]:
    stranger = client.with_options(api_key="sk-wrong")
    question = messages(seen.QUESTION)
    chats = client.chat.completions
    return {
        "key": seen.failure(
            openai.APIError, lambda: stranger.chat.completions.create(model=ask.model, messages=question)
        ),
        "model": seen.failure(
            openai.APIError, lambda: chats.create(model="nobody/knows-it", messages=question)
        ),
        "body": seen.failure(openai.APIError, lambda: chats.create(model=ask.model, messages=[])),
    }


if __name__ == "__main__":
    seen.show(look)
