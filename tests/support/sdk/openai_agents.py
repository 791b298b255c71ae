"""OpenAI's agents SDK: an agent with a tool, run streamed, on its responses model and its chat-completions model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    RunResultStreaming,
    function_tool,
)
from agents.items import ToolCallItem
from openai import AsyncOpenAI
from openai.types.responses import ResponseFunctionToolCall
from pydantic import BaseModel

from tests.support.sdk import seen


class Country(BaseModel):
    capital: str
    population: int
    languages: list[str]


FORMS: dict[str, Callable[[str, AsyncOpenAI], Model]] = {
    "responses": OpenAIResponsesModel,
    "chat": OpenAIChatCompletionsModel,
}
# Its traces go to OpenAI unless one says no.
QUIET = RunConfig(tracing_disabled=True)
SETTINGS = ModelSettings(include_usage=True)


def get_weather(city: str) -> str:
    """The weather in a city."""
    return seen.weather(city)


def look(ask: seen.Ask) -> seen.Seen:
    """Try everything once."""
    return asyncio.run(look_at(ask))


async def look_at(ask: seen.Ask) -> seen.Seen:
    async with AsyncOpenAI(base_url=f"{ask.url}/v1", api_key=ask.key, max_retries=0) as client:
        model = FORMS[ask.form](ask.model, client)
        agent = Agent(name="teller", instructions=seen.SYSTEM, model=model, model_settings=SETTINGS)
        plain = await Runner.run(agent, seen.QUESTION, run_config=QUIET)
        streamed, text = await stream(agent, seen.QUESTION)
        assert streamed.final_output == text
        knower = Agent(
            name="knower", instructions=seen.SYSTEM, model=model, model_settings=SETTINGS, output_type=Country
        )
        known, _ = await stream(knower, seen.COUNTRY_QUESTION)
        usage = plain.context_wrapper.usage
        return {
            "plain": {
                "text": plain.final_output,
                "finish": None,
                "tokens": [usage.input_tokens, usage.output_tokens],
            },
            "streamed": {"text": text, "finish": None, "tokens": tokens(streamed)},
            "loop": await loop(model),
            "structured": known.final_output_as(Country).model_dump(),
            "errors": None,
        }


async def stream(agent: Agent[None], question: str) -> tuple[RunResultStreaming, str]:
    """A streamed run, and the text that its events carried."""
    running = Runner.run_streamed(agent, question, run_config=QUIET)
    text = ""
    async for event in running.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            text += event.data.delta
    return running, text


def tokens(run: RunResultStreaming) -> list[int]:
    return [run.context_wrapper.usage.input_tokens, run.context_wrapper.usage.output_tokens]


async def loop(model: Model) -> seen.Looped:
    agent = Agent(
        name="teller",
        instructions=seen.SYSTEM,
        model=model,
        model_settings=SETTINGS,
        tools=[function_tool(get_weather)],
    )
    running, text = await stream(agent, seen.WEATHER_QUESTION)
    assert running.final_output == text
    calls: list[seen.Called] = []
    for item in running.new_items:
        if isinstance(item, ToolCallItem) and isinstance(item.raw_item, ResponseFunctionToolCall):
            calls.append({"name": item.raw_item.name, "arguments": json.loads(item.raw_item.arguments)})
    return {
        "calls": calls,
        "finishes": [None] * len(running.raw_responses),
        "text": text,
        "tokens": tokens(running),
    }


if __name__ == "__main__":
    seen.show(look)
