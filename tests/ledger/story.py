"""Stories: tables of operations, one a line, with the answer and the wallet that must follow.

    step            | answer      | free held spent
    top_up a 100    | ok          |  100    0     0
    hold a c1 60    | held        |   40   60     0
    settle c1 45    | charged 45  |
    & hold a c2 50  | held        |    5   50    45

A line that begins with `&` is in one batch with the line before. Amounts are nano-units. The last column is the wallet
the line is about, after the line or, in a batch, after the batch; it may be left out. A hold is taken by owner `w1`
unless the line ends in `by w2`. A settlement's caller remembers its hold as it was granted, or as `knowing N`.
After each step the books must balance.
"""

from __future__ import annotations

from typing import NamedTuple

from farebox.ledger.books import ExtendOp, Held, HoldOp, Op, Refused, ReleaseOp, Result, Settled
from farebox.ledger.moves import Booked
from farebox.ledger.rules import TransferKind
from tests.ledger.ledger_file import NOW_US, LedgerFile, settlement

MOVES = {kind.value for kind in TransferKind if kind is not TransferKind.CHARGE}


class Line(NamedTuple):
    """One line of a table."""

    words: list[str]
    answer: str
    wallet: list[int]
    text: str


class Teller:
    """Performs a story on a ledger, remembering what its callers would."""

    def __init__(self, ledger: LedgerFile) -> None:
        self._ledger = ledger
        self._wallet_of: dict[str, str] = {}
        self._granted: dict[str, int] = {}

    def tell(self, table: str) -> None:
        steps: list[list[Line]] = []
        for text in table.strip().splitlines()[1:]:
            line = _line(text)
            if line.text.startswith("&"):
                steps[-1].append(line)
            else:
                steps.append([line])
        for step in steps:
            self._step(step)

    def _step(self, lines: list[Line]) -> None:
        names = [self._wallet_named(line.words) for line in lines]
        plain = lines[0].words[0] in MOVES or lines[0].words[0] == "sweep"
        answers = [self._plain(lines[0])] if plain else self._batch(lines)
        report = self._ledger.check()
        assert report.balanced, (lines[-1].text, report.breaches)
        for line, answer, name in zip(lines, answers, names, strict=True):
            assert answer == line.answer, f"{line.text!r} was answered {answer!r}"
            if line.wallet:
                amounts = self._ledger.amounts(name)
                found = [amounts.balance - amounts.held, amounts.held, amounts.spent]
                assert found == line.wallet, f"{line.text!r} left {found}"

    def _plain(self, line: Line) -> str:
        verb, name, *rest = line.words
        if verb == "sweep":
            return f"voided {self._ledger.sweep(name)}"
        self._ledger.open_wallet(name)
        return (
            "ok"
            if isinstance(self._ledger.move(name, TransferKind(verb), int(rest[0])), Booked)
            else "refused"
        )

    def _batch(self, lines: list[Line]) -> list[str]:
        operations = [self._operation(line.words) for line in lines]
        results = self._ledger.commit(*operations)
        for operation, result in zip(operations, results, strict=True):
            if isinstance(result, Held) and isinstance(operation, HoldOp | ExtendOp):
                before = self._granted.get(operation.id, 0) if isinstance(operation, ExtendOp) else 0
                self._granted[operation.id] = before + operation.amount_nano
        return [_told(result) for result in results]

    def _operation(self, words: list[str]) -> Op:
        match words:
            case ["hold", name, call, amount, *by]:
                self._wallet_of[call] = name
                owner = by[1] if by else "w1"
                self._ledger.enlist(owner)
                account = self._ledger.open_wallet(name)
                return HoldOp(call, account, 1, owner, "acme/model", int(amount), NOW_US)
            case ["extend", call, amount]:
                return ExtendOp(call, self._account_of(call), int(amount))
            case ["release", call]:
                return ReleaseOp(call, self._account_of(call))
            case ["settle", call, due, *knowing]:
                hold = int(knowing[1]) if knowing else self._granted.get(call, 0)
                return settlement(call, self._account_of(call), due=int(due), hold=hold)
            case ["void", call]:
                return settlement(call, self._account_of(call), due=0, hold=self._granted.get(call, 0))
        raise AssertionError(f"no such step: {' '.join(words)}")

    def _account_of(self, call: str) -> int:
        return self._ledger.accounts[self._wallet_of.get(call, "a")]

    def _wallet_named(self, words: list[str]) -> str:
        if words[0] in MOVES or words[0] == "hold":
            return words[1]
        return self._wallet_of.get(words[1], "a")


def _line(text: str) -> Line:
    step, answer, wallet = (column.strip() for column in text.split("|"))
    return Line(step.lstrip("& ").split(), answer, [int(word) for word in wallet.split()], text.strip())


def _told(result: Result | Exception) -> str:
    match result:
        case Held():
            return "held"
        case Refused():
            return f"refused, {result.available_nano} free"
        case Settled(charge_nano=charge, leakage_nano=0):
            return f"charged {charge}"
        case Settled(charge_nano=charge, leakage_nano=leakage):
            return f"charged {charge}, leaked {leakage}"
        case _:
            return type(result).__name__
