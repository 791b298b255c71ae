"""Pydantic AI: an agent with a tool, streamed, on each of its models that may be given a base URL."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent, ModelResponse, ToolCallPart
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RunUsage

from tests.support.sdk import seen


class Country(BaseModel):
    capital: str
    population: int
    languages: list[str]


# Each of the four imports its own SDK alone: all of them together take three seconds.


def chat(ask: seen.Ask) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIChatModel(ask.model, provider=OpenAIProvider(base_url=f"{ask.url}/v1", api_key=ask.key))


def responses(ask: seen.Ask) -> Model:
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIResponsesModel(ask.model, provider=OpenAIProvider(base_url=f"{ask.url}/v1", api_key=ask.key))


def anthropic(ask: seen.Ask) -> Model:
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    return AnthropicModel(ask.model, provider=AnthropicProvider(base_url=ask.url, api_key=ask.key))


def google(ask: seen.Ask) -> Model:
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    return GoogleModel(ask.model, provider=GoogleProvider(base_url=ask.url, api_key=ask.key))


FORMS = {"chat": chat, "responses": responses, "anthropic": anthropic, "google": google}


def look(ask: seen.Ask) -> seen.Seen:
    """Try everything once."""
    return asyncio.run(look_with(FORMS[ask.form](ask)))


async def look_with(model: Model) -> seen.Seen:
    settings = ModelSettings(max_tokens=seen.LIMIT)
    agent = Agent(model, instructions=seen.SYSTEM, model_settings=settings)
    plain = await agent.run(seen.QUESTION)
    async with agent.run_stream(seen.QUESTION) as stream:
        text = "".join([piece async for piece in stream.stream_text(delta=True, debounce_by=None)])
        streamed = said(text, stream.all_messages(), stream.usage)
    return {
        "plain": said(plain.output, plain.all_messages(), plain.usage),
        "streamed": streamed,
        "loop": await loop(model),
        "structured": await structured(model),
        "errors": None,
    }


def said(text: str, talk: list[ModelMessage], usage: RunUsage) -> seen.Said:
    return {"text": text, "finish": finishes(talk)[-1], "tokens": [usage.input_tokens, usage.output_tokens]}


def finishes(talk: list[ModelMessage]) -> list[str | None]:
    return [message.finish_reason for message in talk if isinstance(message, ModelResponse)]


def get_weather(city: str) -> str:
    """The weather in a city."""
    return seen.weather(city)


async def loop(model: Model) -> seen.Looped:
    agent = Agent(model, instructions=seen.SYSTEM, tools=[get_weather])
    async with agent.run_stream(seen.WEATHER_QUESTION) as stream:
        text = "".join([piece async for piece in stream.stream_text(delta=True, debounce_by=None)])
        talk, usage = stream.all_messages(), stream.usage
    asked = [part for message in talk for part in message.parts if isinstance(part, ToolCallPart)]
    return {
        "calls": [{"name": part.tool_name, "arguments": part.args_as_dict()} for part in asked],
        "finishes": finishes(talk),
        "text": text,
        "tokens": [usage.input_tokens, usage.output_tokens],
    }


async def structured(model: Model) -> dict[str, object]:
    """By its default way, which is a tool that carries the answer."""
    agent = Agent(model, output_type=Country)
    async with agent.run_stream(seen.COUNTRY_QUESTION) as stream:
        country = await stream.get_output()
        assert isinstance(country, Country)
        return country.model_dump()


if __name__ == "__main__":
    seen.show(look)
