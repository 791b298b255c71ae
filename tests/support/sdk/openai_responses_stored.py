"""The official OpenAI client for Python on responses that the gateway keeps: each step names the one before."""

from __future__ import annotations

import openai
from openai import OpenAI
from openai.types.responses import ResponseInputParam

from tests.support.sdk import seen
from tests.support.sdk.openai_responses import WEATHER, Weather, errors, said, tokens


def look(ask: seen.Ask) -> seen.Seen:
    """Ask, fetch what was answered, go on from it, delete it."""
    with OpenAI(base_url=f"{ask.url}/v1", api_key=ask.key, max_retries=0, timeout=30) as client:
        plain = client.responses.create(model=ask.model, instructions=seen.SYSTEM, input=seen.QUESTION)
        fetched = client.responses.retrieve(plain.id)
        client.responses.delete(plain.id)
        gone = seen.failure(openai.APIError, lambda: client.responses.retrieve(plain.id))
        return {
            "plain": said(plain),
            "streamed": said(fetched),
            "loop": loop(client, ask.model),
            "structured": None,
            "errors": {**errors(client, ask), "gone": gone},
        }


def loop(client: OpenAI, model: str) -> seen.Looped:
    told: ResponseInputParam = [{"role": "user", "content": seen.WEATHER_QUESTION}]
    before: str | openai.Omit = openai.omit
    calls: list[seen.Called] = []
    finishes: list[str | None] = []
    while True:
        with client.responses.stream(
            model=model, input=told, tools=[WEATHER], previous_response_id=before
        ) as stream:
            reply = stream.get_final_response()
        finishes.append(reply.status)
        asked = [item for item in reply.output if item.type == "function_call"]
        if not asked:
            break
        before, told = reply.id, []
        for call in asked:
            arguments = call.parsed_arguments
            assert isinstance(arguments, Weather)
            calls.append({"name": call.name, "arguments": arguments.model_dump()})
            output = seen.weather(arguments.city)
            told.append({"type": "function_call_output", "call_id": call.call_id, "output": output})
    return {"calls": calls, "finishes": finishes, "text": reply.output_text, "tokens": tokens(reply)}


if __name__ == "__main__":
    seen.show(look)
