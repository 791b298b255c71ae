"""What a repeat of a key gets, by what stands in its row and in the books: pure, and so tested whole.

    row          books say   run by somebody   nobody runs it
    -----------  ----------  ----------------  -------------------------------------------------
    any          open        wait              wait: the sweep or the settlement will tell
    open         charged     wait              lost: it is paid for, so it is not done again
    open         empty       wait              take: it cost nothing
    open         free        wait              take
    kept         charged     the reply         the reply
    kept         empty       the reply         the reply
    kept         free        wait              take: it was written down before a charge that never came
    too_large    charged     too large         too large
    too_large    empty       too large         take
    too_large    free        wait              take
    dropped      any but     lost              lost
                 open

Work that the books do not know (a top-up, a write of an administrator) is safe to do again under its first id, and is
what it is by its row alone: open waits or is taken, kept is the reply. Another request under the same key is refused
with everything but a take of a call that cost nothing, which leaves no trace that it could contradict.
"""

from __future__ import annotations

from enum import Enum

from farebox.features.idempotency.rows import State
from farebox.ledger.fate import Fate


class Verdict(Enum):
    """What to do with a repeat."""

    WAIT = "wait"
    TAKE = "take"
    REPLAY = "replay"
    LOST = "lost"
    TOO_LARGE = "too_large"
    CONFLICT = "conflict"


_ENDED = {State.KEPT: Verdict.REPLAY, State.TOO_LARGE: Verdict.TOO_LARGE, State.DROPPED: Verdict.LOST}


def judge(state: State, fate: Fate | None, *, run: bool, same: bool) -> Verdict:
    """The table above; `run`: somebody runs it, `same`: the same is asked as then, `fate` None: not in the books."""
    if fate is None:
        verdict = _ENDED.get(state) or (Verdict.WAIT if run else Verdict.TAKE)
        return verdict if same else Verdict.CONFLICT
    verdict = _by_books(state, fate, run=run)
    return verdict if same or verdict is Verdict.TAKE else Verdict.CONFLICT


def _by_books(state: State, fate: Fate, *, run: bool) -> Verdict:
    if fate is Fate.OPEN:
        return Verdict.WAIT
    if state is State.DROPPED:
        return Verdict.LOST
    if state is State.OPEN:
        if run:
            return Verdict.WAIT
        return Verdict.LOST if fate is Fate.CHARGED else Verdict.TAKE
    if fate is Fate.FREE:
        return Verdict.WAIT if run else Verdict.TAKE
    if state is State.TOO_LARGE and fate is Fate.EMPTY and not run:
        return Verdict.TAKE
    return _ENDED[state]
