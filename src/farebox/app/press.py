"""The press: what prints PDF, loaded when the first one is asked for, and only where its extra is installed.

The library takes some ten MiB, which a worker that prints nothing does without.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import threading
from typing import Protocol, cast

from farebox.billing.papers.pages.sheet import Sheet
from farebox.config.settings import Invoices

log = logging.getLogger("farebox")
LIBRARY = "reportlab"
MODULE = "farebox.billing.papers.pdf"


class _Printer(Protocol):
    def print(self, sheet: Sheet) -> bytes: ...


class Press:
    """Prints sheets on any paper."""

    def __init__(self, settings: Invoices) -> None:
        self._fonts = settings.fonts
        self._paper = settings.paper
        self._printers: dict[str, _Printer | None] = {}
        self._turn = threading.Lock()

    @property
    def paper(self) -> str:
        """The size of paper that is used unless a caller asks for another."""
        return self._paper

    def printed(self, sheet: Sheet, paper: str) -> bytes | None:
        """A sheet as PDF; None where this deployment prints none."""
        with self._turn:
            if paper not in self._printers:
                self._printers[paper] = self._open(paper)
            printer = self._printers[paper]
        return None if printer is None else printer.print(sheet)

    def _open(self, paper: str) -> _Printer | None:
        if importlib.util.find_spec(LIBRARY) is None:
            log.warning("no PDF can be printed: install farebox[pdf]")
            return None
        module = importlib.import_module(MODULE)
        try:
            return cast("_Printer", module.Printer(paper, self._fonts))
        except module.FontError as error:
            log.error("no PDF can be printed: [invoices] fonts: %s", error)  # noqa: TRY400 -- it says all
            return None
