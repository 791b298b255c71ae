"""The official Anthropic client for Python, by its streaming, parsing and tool-running helpers."""

from __future__ import annotations

from anthropic import Anthropic, APIError, beta_tool
from anthropic.types import Message, MessageParam, ParsedMessage, ToolParam, ToolResultBlockParam
from pydantic import BaseModel

from tests.support.sdk import seen


class Country(BaseModel):
    capital: str
    population: int
    languages: list[str]


WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def look(ask: seen.Ask) -> seen.Seen:
    """Try everything once."""
    with Anthropic(base_url=ask.url, api_key=ask.key, max_retries=0, timeout=30) as client:
        plain = client.messages.create(
            model=ask.model, max_tokens=seen.LIMIT, system=seen.SYSTEM, messages=question(seen.QUESTION)
        )
        looped = loop(client, ask.model)
        assert run_by_helper(client, ask.model) == looped["text"]
        counted = client.messages.count_tokens(
            model=ask.model, system=seen.SYSTEM, messages=question(seen.QUESTION)
        )
        assert counted.input_tokens > 0
        return {
            "plain": said(plain),
            "streamed": streamed(client, ask.model),
            "loop": looped,
            "structured": structured(client, ask.model),
            "errors": errors(client, ask),
        }


def question(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


def said(reply: Message | ParsedMessage[None]) -> seen.Said:
    text = "".join(block.text for block in reply.content if block.type == "text")
    return {"text": text, "finish": reply.stop_reason, "tokens": tokens(reply)}


def tokens(reply: Message | ParsedMessage[None]) -> list[int]:
    return [reply.usage.input_tokens, reply.usage.output_tokens]


def streamed(client: Anthropic, model: str) -> seen.Said:
    with client.messages.stream(
        model=model, max_tokens=seen.LIMIT, system=seen.SYSTEM, messages=question(seen.QUESTION)
    ) as stream:
        text = "".join(stream.text_stream)
        reply = stream.get_final_message()
    assert said(reply)["text"] == text
    return said(reply)


def loop(client: Anthropic, model: str) -> seen.Looped:
    talk = question(seen.WEATHER_QUESTION)
    calls: list[seen.Called] = []
    finishes: list[str | None] = []
    while True:
        with client.messages.stream(
            model=model, max_tokens=seen.LIMIT, messages=talk, tools=[WEATHER]
        ) as stream:
            reply = stream.get_final_message()
        finishes.append(reply.stop_reason)
        if reply.stop_reason != "tool_use":
            break
        results: list[ToolResultBlockParam] = []
        for block in reply.content:
            if block.type == "tool_use":
                calls.append({"name": block.name, "arguments": block.input})
                told = seen.weather(str(block.input["city"]))
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": told})
        talk += [{"role": "assistant", "content": reply.content}, {"role": "user", "content": results}]
    return {"calls": calls, "finishes": finishes, "text": said(reply)["text"], "tokens": tokens(reply)}


def run_by_helper(client: Anthropic, model: str) -> str:
    """The SDK's own loop, streamed; the last words."""

    @beta_tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return seen.weather(city)

    runner = client.beta.messages.tool_runner(
        model=model,
        max_tokens=seen.LIMIT,
        messages=[{"role": "user", "content": seen.WEATHER_QUESTION}],
        tools=[get_weather],
        stream=True,
    )
    for stream in runner:
        reply = stream.get_final_message()
    return "".join(block.text for block in reply.content if block.type == "text")


def structured(client: Anthropic, model: str) -> dict[str, object]:
    asked = question(seen.COUNTRY_QUESTION)
    plain = client.messages.parse(model=model, max_tokens=seen.LIMIT, messages=asked, output_format=Country)
    with client.messages.stream(
        model=model, max_tokens=seen.LIMIT, messages=asked, output_format=Country
    ) as stream:
        country = stream.get_final_message().parsed_output
    assert country is not None
    assert country == plain.parsed_output
    return country.model_dump()


def errors(client: Anthropic, ask: seen.Ask) -> dict[str, str]:
    def fail(asked: Anthropic, model: str, text: str) -> str:
        return seen.failure(
            APIError,
            lambda: asked.messages.create(model=model, max_tokens=seen.LIMIT, messages=question(text)),
        )

    return {
        "key": fail(client.with_options(api_key="sk-wrong"), ask.model, seen.QUESTION),
        "model": fail(client, "nobody/knows-it", seen.QUESTION),
        "body": seen.failure(
            APIError, lambda: client.messages.create(model=ask.model, max_tokens=seen.LIMIT, messages=[])
        ),
    }


if __name__ == "__main__":
    seen.show(look)
