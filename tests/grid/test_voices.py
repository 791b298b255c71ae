"""The naive callers and the naive providers of one dialect understand each other without any gateway between them."""

from __future__ import annotations

import json

import pytest

from tests.grid.cells import CALLERS
from tests.grid.facts import Answered, Asking, Scenario
from tests.grid.play import CALLER_MODULES, check_heard, converse
from tests.grid.providers.members import KEY
from tests.grid.scenarios import SCENARIOS
from tests.grid.stage import PROVIDER_MODULES, Stage, model_of
from tests.support.faulty import Recorded

# But for stop sequences, which the Responses API cannot be told, and for a stream that breaks: how that is told is the
# gateway's own rule.
SPEAKABLE = [
    pytest.param(name, scenario, id=f"{name}-{scenario.name}")
    for name in CALLERS
    for scenario in SCENARIOS.values()
    if not (name == "openai_responses" and scenario.stop)
    and not (scenario.failure is not None and scenario.failure.in_the_middle)
]


class Line:
    """Sends a caller's requests straight to a stage."""

    def __init__(self, name: str) -> None:
        self.stage = Stage(PROVIDER_MODULES[name])

    async def send(self, asking: Asking) -> Answered:
        headers = {name: value.replace("KEY", KEY) for name, value in asking.headers.items()}
        headers["content-type"] = "application/json"
        body = json.dumps(asking.body).encode()
        answer = self.stage.answer(Recorded("POST", asking.path, headers, body, 0, 0.0))
        sent = b"".join(piece for piece in answer.body if isinstance(piece, bytes))
        return Answered(answer.status, dict(answer.headers), sent)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("name", "scenario"), SPEAKABLE)
async def test_a_caller_and_a_provider_of_one_dialect_understand_each_other(
    name: str, scenario: Scenario, *, streamed: bool
) -> None:
    line, caller = Line(name), CALLER_MODULES[name]
    heard = await converse(caller, scenario, model_of(name), line.send, streamed=streamed)
    assert not line.stage.complaints
    assert line.stage.requests == max(1, len(scenario.replies))
    for told, reply in zip(heard, scenario.replies, strict=False):
        check_heard(told, reply, caller, name)
    if scenario.failure is not None:
        assert heard[0].fault is not None
