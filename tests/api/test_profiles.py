"""The four profiles: where each answers, how it names things, and what it alone refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.caller import MODEL, Caller, error_of
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASES = {
    "/v1": "standard",
    "/openai/v1": "standard",
    "/openai": "standard",
    "/anthropic/v1": "standard",
    "/genai/v1": "standard",
    "/api/v1": "console",
    "/api/openai/v1": "serika",
    "/openserv/v1": "openserv",
}
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]


@pytest.mark.parametrize(("base", "profile"), BASES.items())
async def test_a_call_is_answered_on_every_base_and_booked_under_its_profile(
    shared: Gateway, base: str, profile: str
) -> None:
    caller = Caller(shared, f"base{base.replace('/', '-')}")
    answer = await caller.chat(base, messages=ASKED)
    assert answer.status_code == 200, answer.text
    assert shared.request(answer.headers["x-request-id"])["profile"] == profile


@pytest.mark.parametrize(("base", "profile"), BASES.items())
async def test_errors_have_the_code_style_of_their_profile(shared: Gateway, base: str, profile: str) -> None:
    caller = Caller(shared, f"errors{base.replace('/', '-')}")
    wrong = await caller.chat(base, messages=[])
    missing = await caller.get(f"{base}/nothing-here")
    for answer, status, code in ((wrong, 400, "invalid_request"), (missing, 404, "not_found")):
        error = error_of(answer, status)
        if profile == "standard":
            assert error["code"] == status
            assert error["metadata"] == {"error_type": code}
        else:
            assert error["code"] == code
            assert "metadata" not in error


@pytest.mark.parametrize(
    ("base", "asked", "named"),
    [
        ("/v1", "openai/gpt-4o-mini", "gpt-4o-mini"),
        ("/v1", "gpt-4o-mini", "gpt-4o-mini"),
        ("/v1", "openai/gpt-4o-mini:floor", "gpt-4o-mini:floor"),
        ("/api/v1", "openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("/api/v1", "gpt-4o-mini", "gpt-4o-mini"),
        ("/api/v1", "gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18"),
        ("/api/openai/v1", "openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("/openserv/v1", "gpt-4o-mini", "gpt-4o-mini"),
        ("/openserv/v1", "openai/gpt-4o-mini:nitro", "openai/gpt-4o-mini:nitro"),
    ],
)
async def test_a_reply_names_the_model_as_it_was_asked_for(
    shared: Gateway, base: str, asked: str, named: str
) -> None:
    caller = Caller(shared, "naming")
    plain = (await caller.chat(base, model=asked, messages=ASKED)).json()
    assert plain["model"] == named
    streamed = await caller.chat(base, model=asked, messages=ASKED, stream=True)
    assert streamed.status_code == 200
    chunks = [line for line in streamed.text.split("\n\n") if line.startswith("data: {")]
    assert chunks
    assert all(f'"model":"{named}"' in chunk for chunk in chunks)


async def test_serika_refuses_the_free_plan_and_nobody_else_does(shared: Gateway) -> None:
    caller = Caller(shared, "free", plan="free")
    for path in ("/api/openai/v1/models", f"/api/openai/v1/models/{MODEL}"):
        error_of(await caller.get(path), 403)
    error = error_of(await caller.chat("/api/openai/v1"), 403)
    assert (error["type"], error["code"]) == ("permission_error", "plan_without_api_access")
    for base in ("/v1", "/api/v1", "/openserv/v1"):
        assert (await caller.chat(base, messages=ASKED)).status_code == 200


async def test_serikas_paid_plan_is_served(shared: Gateway) -> None:
    caller = Caller(shared, "paid", plan="premium")
    answer = await caller.chat("/api/openai/v1")
    assert answer.status_code == 200
    assert answer.headers["x-ratelimit-limit-requests"] == "120"


async def test_openserv_names_its_rule_where_nobody_instructs_the_model(shared: Gateway) -> None:
    caller = Caller(shared, "uninstructed")
    error = error_of(await caller.chat("/openserv/v1"), 400)
    assert error["type"] == "invalid_request_error"
    assert error["code"] == "missing_system_message"
    assert error["param"] == "messages"
    assert "system or developer message" in error["message"]
    assert caller.spent_nano() == 0
    for base in ("/v1", "/api/v1", "/api/openai/v1"):
        assert (await caller.chat(base)).status_code == 200


@pytest.mark.parametrize("base", ["/v1", "/api/openai/v1", "/openserv/v1"])
async def test_a_character_is_accepted_and_told_as_dropped(shared: Gateway, base: str) -> None:
    caller = Caller(shared, "characters")
    for character in ("12345", 12345):
        answer = await caller.chat(base, messages=ASKED, character_id=character)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-farebox-dropped"] == "character_id"
    assert "x-farebox-dropped" not in (await caller.chat(base, messages=ASKED)).headers


HOSTS = """
[server.hosts]
"inference-api.example" = "openserv"
"api.serika.example" = "serika"
"""


async def test_a_host_name_makes_the_plain_base_behave_as_its_profile(tmp_path: Path) -> None:
    async with running(tmp_path, HOSTS) as gateway:
        caller = Caller(gateway, plan="free")
        for host in ("inference-api.example", "INFERENCE-API.example:8443"):
            error = error_of(await caller.post("/v1/chat/completions", {}, host=host), 400)
            assert error["code"] == "missing_required_parameter"
            nowhere = error_of(await caller.get("/v1/nothing-here", host=host), 404)
            assert nowhere["code"] == "not_found"
        refused = error_of(await caller.get("/v1/models", host="api.serika.example"), 403)
        assert refused["code"] == "plan_without_api_access"
        # Other hosts, and bases that belong to a profile, are what they always are.
        assert error_of(await caller.get("/v1/nothing-here", host="other.example"), 404)["code"] == 404
        assert (await caller.get("/api/v1/models", host="api.serika.example")).status_code == 200


async def test_the_sandbox_says_that_it_is_one(shared: Gateway) -> None:
    caller = Caller(shared, "sandboxed")
    assert (await caller.chat()).headers["x-sandbox"] == "true"
    assert (await caller.chat(stream=True)).headers["x-sandbox"] == "true"
