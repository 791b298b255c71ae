from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from farebox.ledger.books import ExtendOp, HoldGoneError, HoldOp, Op, ReleaseOp, Result, SettleOp
from farebox.ledger.moves import Booked
from farebox.ledger.rules import TransferKind
from tests.ledger.ledger_file import NOW_US, Amounts, LedgerFile, settlement
from tests.ledger.model import Model, Unknown
from tests.support.postgres import PostgresServer
from tests.support.stores import opened_store

WALLETS = ("a", "b", "c")
OWNERS = ("w1", "w2")
CALLS = {f"c{number:02}": WALLETS[number % 3] for number in range(18)}  # Few, so that operations meet.
INTO = (TransferKind.TOP_UP, TransferKind.GRANT, TransferKind.REFUND, TransferKind.CORRECTION)
amounts = st.integers(0, 120)


class Ledger(RuleBasedStateMachine):
    """Any operations in any batches leave the books as the model says, balanced after every step."""

    def __init__(self, engine: str, server: PostgresServer | None) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="farebox-ledger-")))
        self.ledger = LedgerFile(self.stack.enter_context(opened_store(engine, folder, server)).database)
        self.model = Model()
        self.asked: dict[str, HoldOp] = {}  # An id never names a second hold, nor a second settlement.
        self.known: dict[str, int] = {}  # Holds as their callers remember them.
        self.settlements: dict[str, SettleOp] = {}
        self.posted: dict[str, int] = {}

    @initialize()
    def begin(self) -> None:
        for name in WALLETS:
            self.model.wallets[self.ledger.open_wallet(name)] = Amounts()
        for owner in OWNERS:
            self.ledger.enlist(owner)
        for name in WALLETS:
            self.move(name, INTO[0], 100)

    @rule(name=st.sampled_from(WALLETS), kind=st.sampled_from(INTO), change=st.integers(-60, 60).filter(bool))
    def move(self, name: str, kind: TransferKind, change: int) -> None:
        moved = self.ledger.move(name, kind, change)
        assert isinstance(moved, Booked) == self.model.move(self.ledger.accounts[name], change)

    @rule(owner=st.sampled_from(OWNERS))
    def an_owner_dies(self, owner: str) -> None:
        assert self.ledger.sweep(owner) == self.model.sweep(owner)
        self.ledger.enlist(owner)

    @rule(data=st.data(), size=st.integers(1, 7))
    def batch(self, data: st.DataObject, size: int) -> None:
        operations = [data.draw(self._operations()) for _ in range(size)]
        expected = self.model.apply(operations)
        results = self.ledger.commit(*operations)
        assert [_plain(result) for result in results] == expected, operations
        self.known |= {call: hold.amount for call, hold in self.model.holds.items()}

    @invariant()
    def books_balance_and_are_the_models(self) -> None:
        report = self.ledger.check()
        assert report.balanced, report.breaches
        for name, account in self.ledger.accounts.items():
            found = self.ledger.amounts(name)
            assert found == self.model.wallets[account]
            assert 0 <= found.held <= found.balance
        holds = self.ledger.rows("SELECT id, account_id, amount, owner FROM holds")
        assert {str(id_): tuple(rest) for id_, *rest in holds} == {
            id_: (hold.account, hold.amount, hold.owner) for id_, hold in self.model.holds.items()
        }
        calls = self.ledger.rows("SELECT id, charge, leakage, error FROM requests")
        assert {id_: (charge, leakage, error == "owner_died") for id_, charge, leakage, error in calls} == {
            id_: (done.charge, done.leakage, done.swept) for id_, done in self.model.calls.items()
        }

    @invariant()
    def what_is_posted_stays_posted(self) -> None:
        charges = self.ledger.rows("SELECT id, amount FROM transfers WHERE kind = 'charge'")
        assert len({id_ for id_, _ in charges}) == len(charges)
        posted = {str(id_): int(amount or 0) for id_, amount in charges}
        assert self.posted.items() <= posted.items()
        self.posted = posted

    def teardown(self) -> None:
        self.stack.close()

    def _operations(self) -> st.SearchStrategy[Op]:
        calls = st.sampled_from(sorted(CALLS))
        return st.one_of(
            st.builds(self._hold, calls, amounts, st.sampled_from(OWNERS)),
            st.builds(self._extend, calls, amounts),
            st.builds(self._settle, calls, st.integers(-30, 90)),
            st.builds(self._settle, calls, st.integers(-30, 90), st.just(10)),
            st.builds(self._void, calls),
            st.builds(lambda call: ReleaseOp(call, self._account_of(call)), calls.filter(self._unsettled)),
        )

    def _hold(self, call: str, amount: int, owner: str) -> Op:
        """A new hold, a repeat, or where the call is over its settlement."""
        if call in self.settlements or call in self.model.calls:
            return self._settle(call, 0)
        if call not in self.asked:
            self.asked[call] = HoldOp(call, self._account_of(call), 1, owner, "acme/model", amount, NOW_US)
        return self.asked[call]

    def _extend(self, call: str, amount: int) -> Op:
        return ExtendOp(call, self._account_of(call), amount)

    def _settle(self, call: str, beyond: int, unheard: int = 0) -> Op:
        """A settlement near the hold, whose caller may not have heard of so much of it."""
        hold = max(0, self.known.get(call, 0) - unheard)
        return self._settlement(call, max(0, hold + beyond), hold)

    def _void(self, call: str) -> Op:
        return self._settlement(call, 0, self.known.get(call, 0))

    def _settlement(self, call: str, due: int, hold: int) -> SettleOp:
        if call not in self.asked:  # Nobody's: it is refused, and may be held yet.
            self.model.due[call] = due
            return settlement(call, self._account_of(call), due=due, hold=hold)
        if call not in self.settlements:
            self.settlements[call] = settlement(call, self._account_of(call), due=due, hold=hold)
            self.model.due[call] = due
        return self.settlements[call]

    def _unsettled(self, call: str) -> bool:
        return call not in self.settlements

    def _account_of(self, call: str) -> int:
        return self.ledger.accounts[CALLS[call]]


def _plain(result: Result | Exception) -> Result | Unknown:
    if isinstance(result, HoldGoneError):
        return Unknown()
    assert not isinstance(result, Exception), result
    return result


def _machine_on(engine: str, server: PostgresServer | None) -> type[Ledger]:
    class LedgerOnEngine(Ledger):
        def __init__(self) -> None:
            super().__init__(engine, server)

    return LedgerOnEngine


@pytest.mark.parametrize(("engine", "examples"), [("sqlite", 30), ("postgresql", 8)])
def test_any_operations_in_any_batches_leave_exact_books(
    request: pytest.FixtureRequest, engine: str, examples: int
) -> None:
    server = None if engine == "sqlite" else request.getfixturevalue("postgres")
    run_state_machine_as_test(
        _machine_on(engine, server),
        settings=settings(
            # Without shrinking, which takes minutes here: whoever must understand a failure adds Phase.shrink.
            phases=(Phase.generate,),
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
