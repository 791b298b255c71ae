"""The official OpenAI client for Python on responses, by its streaming and parsing helpers."""

from __future__ import annotations

import openai
from openai import OpenAI
from openai.types.responses import ParsedResponse, Response, ResponseInputParam
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
        plain = client.responses.create(
            model=ask.model,
            instructions=seen.SYSTEM,
            input=seen.QUESTION,
            max_output_tokens=seen.LIMIT,
            store=False,
        )
        return {
            "plain": said(plain),
            "streamed": streamed(client, ask.model),
            "loop": loop(client, ask.model),
            "structured": structured(client, ask.model),
            "errors": errors(client, ask),
        }


def said(reply: Response | ParsedResponse[None]) -> seen.Said:
    return {"text": reply.output_text, "finish": reply.status, "tokens": tokens(reply)}


def tokens(reply: Response | ParsedResponse[None]) -> list[int]:
    assert reply.usage is not None
    return [reply.usage.input_tokens, reply.usage.output_tokens]


def streamed(client: OpenAI, model: str) -> seen.Said:
    text = ""
    with client.responses.stream(
        model=model, instructions=seen.SYSTEM, input=seen.QUESTION, store=False
    ) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                text += event.delta
        reply = stream.get_final_response()
    assert reply.output_text == text
    return said(reply)


def loop(client: OpenAI, model: str) -> seen.Looped:
    """Every step sends the whole talk again; the items that came go back as they are."""
    talk: ResponseInputParam = [{"role": "user", "content": seen.WEATHER_QUESTION}]
    calls: list[seen.Called] = []
    finishes: list[str | None] = []
    while True:
        with client.responses.stream(
            model=model, instructions=seen.SYSTEM, input=talk, tools=[WEATHER], store=False
        ) as stream:
            reply = stream.get_final_response()
        finishes.append(reply.status)
        asked = [item for item in reply.output if item.type == "function_call"]
        if not asked:
            break
        talk += reply.output  # type: ignore[arg-type]  # As the SDK's own pages do.
        for call in asked:
            arguments = call.parsed_arguments
            assert isinstance(arguments, Weather)
            calls.append({"name": call.name, "arguments": arguments.model_dump()})
            told = seen.weather(arguments.city)
            talk.append({"type": "function_call_output", "call_id": call.call_id, "output": told})
    return {"calls": calls, "finishes": finishes, "text": reply.output_text, "tokens": tokens(reply)}


def structured(client: OpenAI, model: str) -> dict[str, object]:
    plain = client.responses.parse(model=model, input=seen.COUNTRY_QUESTION, text_format=Country)
    with client.responses.stream(model=model, input=seen.COUNTRY_QUESTION, text_format=Country) as stream:
        country = stream.get_final_response().output_parsed
    assert country is not None
    assert country == plain.output_parsed
    return country.model_dump()


def errors(client: OpenAI, ask: seen.Ask) -> dict[str, str]:
    stranger = client.with_options(api_key="sk-wrong")
    return {
        "key": seen.failure(
            openai.APIError, lambda: stranger.responses.create(model=ask.model, input=seen.QUESTION)
        ),
        "model": seen.failure(
            openai.APIError, lambda: client.responses.create(model="nobody/knows-it", input=seen.QUESTION)
        ),
        "body": seen.failure(openai.APIError, lambda: client.responses.create(model=ask.model, input=[])),
    }


if __name__ == "__main__":
    seen.show(look)
