"""The ground the grid stands on: one gateway before all scripted providers and the engine, and one with its sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path

import msgspec

from tests.grid.cells import ENGINE, SANDBOX, SCRIPTED, Cell
from tests.grid.facts import Answered, Asking, Failure, Heard, Scenario, Tokens
from tests.grid.lines import same
from tests.grid.play import CALLER_MODULES, check_fault, check_form, check_heard, converse
from tests.grid.providers.members import KEY
from tests.grid.scenarios import COLUMNS
from tests.grid.stage import PROVIDER_MODULES, Stage
from tests.support.engine import MODEL, Engine
from tests.support.faulty import serve_faulty
from tests.support.gateway import Gateway, running

SANDBOX_MODEL = "openai/gpt-5-mini"
_PLAN = '[[plans]]\nname = "enterprise"\nchat_rpm = 1000000\n'
_PROVIDER = """
[[providers]]
name = "{name}"
base_url = "{url}"
dialect = "{dialect}"
api_key = "{key}"
[[models]]
id = "grid/{name}"
context_window = 400000
max_output = 100000
cost = {{ currency = "USD", input = "1", cache_read = "0.1", output = "2" }}
routes = [ {{ provider = "{name}", model = "{model}" }} ]
"""
_INPUT, _CACHED, _OUTPUT = Decimal(1), Decimal("0.1"), Decimal(2)  # USD per million tokens, as above.


class Ground(msgspec.Struct):
    """The running parts."""

    gateway: Gateway
    sandbox: Gateway
    keys: dict[str, str]  # By "gateway" and "sandbox".
    stages: dict[str, Stage]

    async def play(self, cell: Cell) -> None:
        """Play one cell to its end; AssertionError says what is not as it must be."""
        scenarios = [scenario for scenario in COLUMNS[cell.column] if _fits(scenario, cell)]
        if cell.reason is not None:
            await self._play_excused(cell, scenarios)
            return
        for scenario in scenarios:
            await _Run(self, cell, scenario).play()

    async def _play_excused(self, cell: Cell, scenarios: list[Scenario]) -> None:
        (scenario,) = scenarios
        await _Run(self, cell, scenario).play_excused()


class _Run:
    """One scenario of one cell."""

    def __init__(self, ground: Ground, cell: Cell, scenario: Scenario) -> None:
        self.caller = CALLER_MODULES[cell.caller]
        self.cell = cell
        self.scenario = _adapted(scenario, cell)
        self.stage = ground.stages.get(cell.provider)
        self.gateway = ground.sandbox if cell.provider == SANDBOX else ground.gateway
        self.key = ground.keys["sandbox" if cell.provider == SANDBOX else "gateway"]
        self.model = SANDBOX_MODEL if cell.provider == SANDBOX else f"grid/{_name(cell.provider)}"
        self.answers: list[Answered] = []

    async def play(self) -> None:
        """Ask, hear, and check both ends; then the money."""
        scenario, caller, failure = self.scenario, self.caller, self.scenario.failure
        heard = await converse(caller, scenario, self.model, self.send, streamed=self.cell.streamed)
        self._check_stage()
        if failure is not None:
            check_fault(heard[0], failure, caller)
            return
        assert len(heard) == len(scenario.replies), "the conversation ended too early"
        for step, told in enumerate(heard):
            if self.stage is not None:
                check_heard(told, scenario.replies[step], caller, self.cell.provider)
            else:
                check_form(told, scenario, step, caller)
            # The standard profile names a model without its maker.
            same("model", told.model, self.model.partition("/")[2])
            self._check_cost(told, step)

    async def play_excused(self) -> None:
        """The cell cannot pass: it is refused by name before any money moves, or by the engine with a typed error."""
        before = self._books()
        heard = await converse(self.caller, self.scenario, self.model, self.send, streamed=self.cell.streamed)
        fault = heard[0].fault
        assert fault is not None, f"it passes, so it needs no reason: {heard[0]}"
        same("status", fault.status, 400 if self.stage is not None else 502)
        same("type", fault.type, self.caller.FAULT_TYPES[fault.status])
        same("balance", self._books()[0], before[0])
        self._check_stage()
        if self.stage is not None:
            assert "stop" in f"{fault.param} {fault.message}", fault
            same("balance, holds, settled and sent", self._books(), before)

    async def send(self, asking: Asking) -> Answered:
        """Send one request over the caller's own connection."""
        headers = {name: value.replace("KEY", self.key) for name, value in asking.headers.items()}
        headers["content-type"] = "application/json"
        got = await self.gateway.client.post(
            asking.path, content=msgspec.json.encode(asking.body), headers=headers
        )
        answer = Answered(got.status_code, dict(got.headers), got.content)
        self.answers.append(answer)
        sandboxed = self.cell.provider == SANDBOX and answer.status == 200
        same("x-sandbox", answer.headers.get("x-sandbox"), "true" if sandboxed else None)
        return answer

    def _check_stage(self) -> None:
        if self.stage is not None:
            complaints, self.stage.complaints = self.stage.complaints, []
            assert not complaints, "\n".join(complaints)

    def _check_cost(self, told: Heard, step: int) -> None:
        """What the caller reads is what its wallet paid, and that is what its tokens cost."""
        row = self.gateway.request(self.answers[step].headers["x-request-id"])
        charge = row["charge"]
        assert told.cost is not None, "usage tells no cost"
        same("cost", Decimal(str(told.cost)) * 10**9, charge)
        if self.stage is not None:
            same("charge", charge, _price_nano(self.scenario.replies[step].tokens))

    def _books(self) -> tuple[int, int, int, int]:
        """Balance, holds, settled requests, and requests that reached the provider."""
        gateway, stage = self.gateway, self.stage
        ((settled,),) = gateway.office.database.rows("SELECT COUNT(*) FROM requests")
        return (
            gateway.balance_nano("grid"),
            gateway.holds(),
            int(settled or 0),
            stage.requests if stage else 0,
        )


def _price_nano(tokens: Tokens) -> int:
    price = tokens.fresh * _INPUT + tokens.cached * _CACHED + tokens.out * _OUTPUT
    return int(price * 1000)  # A dollar a million tokens is 1,000 nano-dollars a token.


def _fits(scenario: Scenario, cell: Cell) -> bool:
    """A stream alone can break in the middle; the engine has one way to fail that a caller can choose."""
    failure = scenario.failure
    if failure is None:
        return True
    if cell.provider == ENGINE:
        return failure.status == 400
    return cell.streamed or not failure.in_the_middle


def _adapted(scenario: Scenario, cell: Cell) -> Scenario:
    """The same scenario in the words that make this provider fail."""
    failure = scenario.failure
    if failure is None or cell.provider in SCRIPTED:
        return scenario
    if cell.provider == SANDBOX:
        trick = "sandbox:cut 3" if failure.in_the_middle else f"sandbox:error {failure.status}"
        told = f"The sandbox was told to answer with status {failure.status}."
        return msgspec.structs.replace(
            scenario, words=trick, failure=msgspec.structs.replace(failure, message=told)
        )
    return msgspec.structs.replace(
        scenario, words="fare " * 9_000, failure=Failure(400, "context size", heard_status=400)
    )


def _name(provider: str) -> str:
    return provider.replace("_", "-").replace(".", "-")


@asynccontextmanager
async def open_ground(folder: Path, engine: Engine) -> AsyncIterator[Ground]:
    """Start everything but the engine, and take it down again."""
    async with AsyncExitStack() as stack:
        stages = {name: Stage(PROVIDER_MODULES[name]) for name in SCRIPTED}
        config = _PLAN
        for name, stage in stages.items():
            upstream = await stack.enter_async_context(serve_faulty())
            upstream.choose(stage.answer)
            config += _PROVIDER.format(
                name=_name(name),
                url=f"{upstream.url}{stage.provider.BASE}",
                dialect=name,
                key=KEY,
                model=stage.model,
            )
        config += _PROVIDER.format(
            name=_name(ENGINE), url=engine.base_url, dialect="openai_chat", key=KEY, model=MODEL
        )
        for name in ("gateway", "sandbox"):
            (folder / name).mkdir()
        gateway = await stack.enter_async_context(running(folder / "gateway", config))
        sandbox = await stack.enter_async_context(running(folder / "sandbox"))
        keys = {
            name: one.key("grid", credit="100000")
            for name, one in (("gateway", gateway), ("sandbox", sandbox))
        }
        yield Ground(gateway, sandbox, keys, stages)
        for one in (gateway, sandbox):
            assert one.holds() == 0
            one.assert_balanced()
