"""The official Google Gen AI client for Python; what stands here is good for its first version and its newest.

Annotations are values here, not strings: version 1 calls a tool by them.
"""

from typing import Any

from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from tests.support.sdk import seen


class Country(BaseModel):
    capital: str
    population: int
    languages: list[str]


WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description="The weather in a city.",
            parameters_json_schema={
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        )
    ]
)


def look(ask: seen.Ask) -> seen.Seen:
    """Try everything once."""
    client = client_of(ask)
    models = client.models
    settings = types.GenerateContentConfig(system_instruction=seen.SYSTEM, max_output_tokens=seen.LIMIT)
    plain = models.generate_content(model=ask.model, contents=seen.QUESTION, config=settings)
    chunks = list(models.generate_content_stream(model=ask.model, contents=seen.QUESTION, config=settings))
    looped = loop(client, ask.model)
    city = str(looped["calls"][0]["arguments"]["city"])
    assert seen.weather(city) in run_by_helper(client, ask.model)
    assert models.count_tokens(model=ask.model, contents=seen.QUESTION).total_tokens > 0
    return {
        "plain": said([plain]),
        "streamed": said(chunks),
        "loop": looped,
        "structured": structured(client, ask.model),
        "errors": failures(ask),
    }


def client_of(ask: seen.Ask) -> Any:
    return genai.Client(api_key=ask.key, http_options=types.HttpOptions(base_url=ask.url, timeout=30_000))


def said(chunks: list[Any]) -> seen.Said:
    return {
        "text": "".join(part.text or "" for part in parts_of(chunks)),
        "finish": finish_of(chunks),
        "tokens": tokens_of(chunks),
    }


def parts_of(chunks: list[Any]) -> list[Any]:
    candidates = [candidate for chunk in chunks for candidate in chunk.candidates or []]
    return [part for one in candidates if one.content for part in one.content.parts or []]


def finish_of(chunks: list[Any]) -> str | None:
    reasons = [one.finish_reason for chunk in chunks for one in chunk.candidates or [] if one.finish_reason]
    (reason,) = reasons
    return str(reason.value)


def tokens_of(chunks: list[Any]) -> list[int]:
    usage = chunks[-1].usage_metadata
    return [usage.prompt_token_count, usage.candidates_token_count]


def loop(client: Any, model: str) -> seen.Looped:
    """By a chat, which keeps the talk; the tool is run here."""
    chat = client.chats.create(model=model, config=types.GenerateContentConfig(tools=[WEATHER]))
    message: Any = seen.WEATHER_QUESTION
    calls: list[seen.Called] = []
    finishes: list[str | None] = []
    while True:
        chunks = list(chat.send_message_stream(message))
        finishes.append(finish_of(chunks))
        asked = [part.function_call for part in parts_of(chunks) if part.function_call]
        if not asked:
            break
        message = []
        for call in asked:
            calls.append({"name": call.name, "arguments": call.args})
            told = {"result": seen.weather(call.args["city"])}
            answer = types.FunctionResponse(id=call.id, name=call.name, response=told)
            message.append(types.Part(function_response=answer))
    last = said(chunks)
    return {"calls": calls, "finishes": finishes, "text": last["text"], "tokens": last["tokens"]}


def run_by_helper(client: Any, model: str) -> str:
    """The SDK's own loop over a Python function, streamed; the last words."""

    def get_weather(city: str) -> str:
        """The weather in a city."""
        return seen.weather(city)

    chunks = client.models.generate_content_stream(
        model=model,
        contents=seen.WEATHER_QUESTION,
        config=types.GenerateContentConfig(tools=[get_weather]),
    )
    return "".join(part.text or "" for part in parts_of(list(chunks)))


def structured(client: Any, model: str) -> dict[str, object]:
    settings = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Country)
    reply = client.models.generate_content(model=model, contents=seen.COUNTRY_QUESTION, config=settings)
    assert isinstance(reply.parsed, Country)
    return reply.parsed.model_dump()


def failures(ask: seen.Ask) -> dict[str, str]:
    def fail(asked: seen.Ask, contents: Any) -> str:
        client = client_of(asked)  # Kept: it closes what it opened when nobody holds it.
        return seen.failure(
            errors.APIError, lambda: client.models.generate_content(model=asked.model, contents=contents)
        )

    return {
        "key": fail(ask._replace(key="sk-wrong"), seen.QUESTION),
        "model": fail(ask._replace(model="nobody/knows-it"), seen.QUESTION),
        "body": fail(ask, [types.Content(role="nobody", parts=[types.Part(text="?")])]),
    }


if __name__ == "__main__":
    seen.show(look)
