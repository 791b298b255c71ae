"""LangChain's model for OpenAI, on chat completions and on responses: bound tools, streamed chunks added up."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from tests.support.sdk import seen


class Country(BaseModel):
    """A country."""

    capital: str
    population: int
    languages: list[str]


def get_weather(city: str) -> str:
    """The weather in a city."""
    return seen.weather(city)


WEATHER = tool(get_weather)
FORMS = {"chat": False, "responses": True}


def look(ask: seen.Ask) -> seen.Seen:
    """Try everything once."""
    model = ChatOpenAI(
        model=ask.model,
        base_url=f"{ask.url}/v1",
        api_key=SecretStr(ask.key),
        use_responses_api=FORMS[ask.form],
        stream_usage=True,
        max_retries=0,
    )
    question = [SystemMessage(seen.SYSTEM), HumanMessage(seen.QUESTION)]
    country = model.with_structured_output(Country, method="json_schema").invoke(seen.COUNTRY_QUESTION)
    assert isinstance(country, Country)
    return {
        "plain": said(model.invoke(question)),
        "streamed": said(added(model, question)),
        "loop": loop(model),
        "structured": country.model_dump(),
        "errors": None,
    }


def added(model: Any, talk: list[BaseMessage]) -> Any:
    """The chunks of a streamed answer as one message."""
    first, *others = model.stream(talk)
    for chunk in others:
        first += chunk
    return first


def said(message: Any) -> seen.Said:
    told = message.response_metadata
    return {
        "text": message.text,
        "finish": told.get("finish_reason") or told.get("status"),
        "tokens": [message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"]],
    }


def loop(model: ChatOpenAI) -> seen.Looped:
    bound = model.bind_tools([WEATHER])
    talk: list[BaseMessage] = [HumanMessage(seen.WEATHER_QUESTION)]
    calls: list[seen.Called] = []
    finishes: list[str | None] = []
    while True:
        reply = added(bound, talk)
        finishes.append(said(reply)["finish"])
        if not reply.tool_calls:
            break
        talk.append(reply)
        for call in reply.tool_calls:
            calls.append({"name": call["name"], "arguments": call["args"]})
            answer = WEATHER.invoke(call)
            assert isinstance(answer, ToolMessage)
            talk.append(answer)
    last = said(reply)
    return {"calls": calls, "finishes": finishes, "text": last["text"], "tokens": last["tokens"]}


if __name__ == "__main__":
    seen.show(look)
