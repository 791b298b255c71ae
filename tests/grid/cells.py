"""The cells of the grid, and the closed list of reasons for those that cannot pass. Nothing here runs anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import Enum
from typing import NamedTuple

CALLERS = ("openai_chat", "openai_responses", "anthropic", "gemini")
SCRIPTED = ("openai_chat", "openai_responses", "anthropic", "gemini")
SANDBOX, ENGINE = "sandbox", "llama.cpp"
PROVIDERS = (*SCRIPTED, SANDBOX, ENGINE)
FORMS = ("plain", "stream")
COLUMNS = ("text", "tools", "parallel tools", "image", "schema", "thinking", "stop", "error")
EXCUSED_PER_CENT_MAX = 5


class Reason(Enum):
    """Why a cell cannot pass: what one of its two sides cannot do at all. There are no others."""

    NO_STOP_SEQUENCES = (
        "The Responses API has no stop sequences."
        " The call is refused by the member's name, with 400, before any money moves."
    )
    NO_IMAGES = (
        "The tiny model behind this llama.cpp takes no images, and its engine fails on one."
        " The caller gets that failure as an error of its own language, with 502, and is not charged."
    )


# (provider, column) → why, for every caller and in both forms.
EXCUSED = {
    ("openai_responses", "stop"): Reason.NO_STOP_SEQUENCES,
    (ENGINE, "image"): Reason.NO_IMAGES,
}


class Cell(NamedTuple):
    """One cell: who asks whom, how it wants the answer, and what about."""

    caller: str
    provider: str
    form: str
    column: str

    @property
    def reason(self) -> Reason | None:
        """Why it cannot pass; None for a cell that must."""
        return EXCUSED.get((self.provider, self.column))

    @property
    def streamed(self) -> bool:
        return self.form == "stream"

    @property
    def id(self) -> str:
        return "-".join(self).replace(" ", "_")


def cells() -> Iterator[Cell]:
    """All of them, row by row."""
    for caller in CALLERS:
        for provider in PROVIDERS:
            for column in COLUMNS:
                for form in FORMS:
                    yield Cell(caller, provider, form, column)


CELLS = tuple(cells())

BROKEN = "NO"  # The mark of a cell that is not as it must be.
# As the page calls them.
_NAMES = {
    "openai_chat": "OpenAI Chat",
    "openai_responses": "OpenAI Responses",
    "anthropic": "Anthropic",
    "gemini": "Gemini",
}


def name_of(side: str) -> str:
    """A caller's or a provider's name for readers."""
    return _NAMES.get(side, side)


def mark(cell: Cell) -> str:
    """What a cell says where all is as it must be: yes, or the number of its reason."""
    return "yes" if cell.reason is None else str(list(Reason).index(cell.reason) + 1)


def rows(broken: Collection[Cell] = ()) -> Iterator[tuple[str, ...]]:
    """The table: caller, provider, and for each column what is said plain and streamed."""
    for caller in CALLERS:
        for provider in PROVIDERS:
            pairs = ([Cell(caller, provider, form, column) for form in FORMS] for column in COLUMNS)
            marks = (", ".join(BROKEN if cell in broken else mark(cell) for cell in pair) for pair in pairs)
            yield name_of(caller), name_of(provider), *marks


def notes() -> Iterator[tuple[int, str]]:
    """The reasons by their numbers."""
    for number, reason in enumerate(Reason, start=1):
        yield number, reason.value


def summary() -> str:
    """How many cells there are of each kind, in a sentence."""
    excused = sum(cell.reason is not None for cell in CELLS)
    share = f"{excused * 100 / len(CELLS):.1f} %"
    return f"Of {len(CELLS)} cells {len(CELLS) - excused} pass, and {excused} ({share}) have their reason."
