"""What a key can read of its account's money: the wallet, its transfers, invoices and monthly statements."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from farebox.api.visit import Visit
from farebox.api.wallet_words import (
    buyer_words,
    day_words,
    entry_words,
    invoice_words,
    month_words,
    statement_words,
    wallet_words,
)
from farebox.billing.papers.buyers import Buyer, get_buyer, save_buyer
from farebox.billing.papers.history import Wanted, find_page, has_older
from farebox.billing.papers.invoices import Terms, find_invoice, list_invoices
from farebox.billing.papers.monthly import daily, find_statement, months_of
from farebox.billing.papers.pages.html import to_html
from farebox.billing.papers.pages.invoice import invoice_sheet
from farebox.billing.papers.pages.sheet import Sheet
from farebox.billing.papers.pages.statement import statement_sheet
from farebox.billing.receipts import Receipts
from farebox.core.errors import Fault, Kind
from farebox.gateway.admit import authenticate, check_grant
from farebox.gateway.house import House
from farebox.ledger.rules import TransferKind
from farebox.store.database import Database, Transaction

PAGE_MOST = 100
DAYS_USUAL = 31
DAYS_MOST = 366
DAY_US = 86_400_000_000
AT_ONCE = 2  # Scans and printings of one worker: they share its processor with the calls.
BODY_MOST = 16_384
_PAGE_SIZE = re.compile(r"[1-9][0-9]?|100")
_DOCUMENT = re.compile(r"([A-Za-z0-9-]{1,60}?)(\.html|\.pdf)?")
_PAPERS = ("a4", "letter")
_PRIVATE = b"cache-control: private, no-store\r\nx-content-type-options: nosniff\r\n"
_HTML = (
    b"content-type: text/html; charset=utf-8\r\nreferrer-policy: no-referrer\r\nx-frame-options: DENY\r\n"
    b"content-security-policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n"
)
T = TypeVar("T")


class Press(Protocol):
    """What prints PDF."""

    @property
    def paper(self) -> str:
        """The size of paper that is used unless a caller asks for another."""

    def printed(self, sheet: Sheet, paper: str) -> bytes | None:
        """A sheet as PDF; None where this deployment prints none. May take a while the first time."""


class WalletHistory:
    """The surfaces of a wallet that only read, and the billing details."""

    def __init__(self, house: House, database: Database, terms: Terms, press: Press) -> None:
        self._house = house
        self._database = database
        self._receipts = Receipts(database, terms.calendar.time_zone)
        self._terms = terms
        self._press = press
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def wallet(self, visit: Visit) -> None:
        """`GET …/wallet`."""
        visit.answer(wallet_words(self._receipts.wallet(self._admit(visit))))

    async def transfers(self, visit: Visit) -> None:
        """`GET …/wallet/transfers`: newest first, or by the day."""
        account_id = self._admit(visit)
        from_us, to_us = self._time(visit, "from"), self._time(visit, "to")
        group = visit.query("group")
        if group is not None:
            if group != "day" or visit.query("kind") is not None or visit.query("before") is not None:
                raise _bad("group", "group must be day, with from and to beside it and nothing else.")
            visit.answer(await self._read(lambda view: self._days(view, account_id, from_us, to_us)))
            return
        wanted = Wanted(_limit(visit), _kind(visit), from_us, to_us, visit.query("before"))
        page = await self._read(lambda view: find_page(view, account_id, wanted))
        if page is None:
            raise _bad("before", "before must be the id of a transfer of this wallet.")
        visit.answer(_list([entry_words(entry) for entry in page.entries], has_more=page.has_more))

    async def invoices(self, visit: Visit) -> None:
        """`GET …/wallet/invoices`: invoices and credit notes, newest first."""
        account_id, limit, before = self._admit(visit), _limit(visit), visit.query("before")
        found = await self._read(lambda view: list_invoices(view, account_id, before=before, limit=limit + 1))
        visit.answer(_list([invoice_words(one) for one in found[:limit]], has_more=len(found) > limit))

    async def invoice(self, visit: Visit) -> None:
        """`GET …/wallet/invoices/{number}`, also with `.html` or `.pdf`."""
        account_id = self._admit(visit)
        number, form = _document(visit)
        found = await self._read(lambda view: find_invoice(view, account_id, number))
        if found is None:
            raise _absent("There is no such invoice of this account.", "number", "invoice_not_found")
        await self._show(visit, form, invoice_words(found), lambda: invoice_sheet(found))

    async def statements(self, visit: Visit) -> None:
        """`GET …/wallet/statements`: the months there are, newest first."""
        account_id, calendar = self._admit(visit), self._terms.calendar
        now_us = self._house.clock.now_us()
        months = await self._read(lambda view: months_of(view, account_id, calendar, now_us))
        visit.answer(_list([month_words(month, calendar, now_us) for month in months], has_more=False))

    async def statement(self, visit: Visit) -> None:
        """`GET …/wallet/statements/{month}`, also with `.html` or `.pdf`."""
        account_id, calendar = self._admit(visit), self._terms.calendar
        month, form = _document(visit)
        now_us = self._house.clock.now_us()
        found = await self._read(lambda view: find_statement(view, account_id, month, calendar, now_us))
        if found is None:
            raise _absent("This account has no statement of that month.", "month", "statement_not_found")
        words = statement_words(found, calendar)
        await self._show(visit, form, words, lambda: statement_sheet(found, self._terms.seller))

    async def billing(self, visit: Visit) -> None:
        """`GET …/wallet/billing`: who invoices are made out to."""
        account_id = self._admit(visit)
        visit.answer(buyer_words(await self._read(lambda view: get_buyer(view, account_id))))

    async def set_billing(self, visit: Visit) -> None:
        """`POST …/wallet/billing`: who invoices are made out to from now on."""
        account_id = self._admit(visit)
        buyer = _buyer(visit.request.body)
        now_us = self._house.clock.now_us()

        def save() -> Buyer:
            with self._database.transaction() as work:
                return save_buyer(work, account_id, buyer, now_us)

        try:
            visit.answer(buyer_words(await asyncio.to_thread(save)))
        except ValueError as error:
            raise Fault(Kind.BAD_REQUEST, f"The billing details cannot be used: {error}.") from None

    def _admit(self, visit: Visit) -> int:
        """The account of the key that asks."""
        grant = visit.grant = authenticate(visit.secret(), self._house, counts=False)
        visit.headers += grant.headers
        check_grant(grant, visit.profile)
        visit.headers += _PRIVATE
        return grant.account.id

    async def _read(self, look: Callable[[Transaction], T]) -> T:
        """Look at the database from a thread, in turn."""

        def read() -> T:
            with self._database.read() as view:
                return look(view)

        async with self._turns:
            return await asyncio.to_thread(read)

    def _days(
        self, view: Transaction, account_id: int, from_us: int | None, to_us: int | None
    ) -> dict[str, object]:
        """The days of a stretch, whole ones, newest first."""
        calendar = self._terms.calendar
        last_us = self._house.clock.now_us() if to_us is None else to_us - 1
        first_us = last_us - (DAYS_USUAL - 1) * DAY_US if from_us is None else from_us
        if not 0 <= last_us - first_us < DAYS_MOST * DAY_US:
            raise _bad("from", f"from must be before to, and at most {DAYS_MOST} days.")
        start_us, end_us = calendar.day(first_us).start_us, calendar.day(last_us).end_us
        days = daily(view, account_id, calendar, start_us, end_us)
        return _list(
            [day_words(day) for day in reversed(days)], has_more=has_older(view, account_id, start_us)
        )

    def _time(self, visit: Visit, name: str) -> int | None:
        """A query's time: a date begins in the wallet's time zone, a time says its own."""
        text = visit.query(name)
        if text is None:
            return None
        at_us = self._terms.calendar.find_time(
            text.replace(" ", "+")
        )  # A bare plus in an address reads as a blank.
        if at_us is None:
            raise _bad(
                name, f"{name} must be a date such as 2026-10-01 or a time such as 2026-10-01T18:30:00Z."
            )
        return at_us

    async def _show(
        self, visit: Visit, form: str, words: dict[str, object], lay_out: Callable[[], Sheet]
    ) -> None:
        """Answer with a document in the form that its address ends in."""
        if form == ".html":
            visit.exchange.answer(200, visit.headers + _HTML, to_html(lay_out()))
        elif form == ".pdf":
            await self._print(visit, lay_out())
        else:
            visit.answer(words)

    async def _print(self, visit: Visit, sheet: Sheet) -> None:
        paper = visit.query("paper") or self._press.paper
        if paper not in _PAPERS:
            raise _bad("paper", f"paper must be one of {', '.join(_PAPERS)}.")
        async with self._turns:
            document = await asyncio.to_thread(self._press.printed, sheet, paper)
        if document is None:
            raise _absent("This server prints no PDF: ask for .html.", "form", "pdf_unavailable")
        head = f'content-type: application/pdf\r\ncontent-disposition: attachment; filename="{sheet.name}.pdf"\r\n'
        visit.exchange.answer(200, visit.headers + head.encode("ascii"), document)


class _Details(msgspec.Struct, forbid_unknown_fields=True):
    """The body of billing details; what is left out becomes empty."""

    name: str
    address: list[str] = []
    region: str = ""
    tax_id: str = ""
    email: str = ""


def _buyer(body: bytes) -> Buyer:
    if len(body) > BODY_MOST:
        raise Fault(Kind.TOO_LARGE, f"Billing details are at most {BODY_MOST} bytes.")
    try:
        details = msgspec.json.decode(body, type=_Details)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fault(Kind.BAD_REQUEST, f"The billing details cannot be read: {error}.") from None
    return Buyer(details.name, tuple(details.address), details.region, details.tax_id, details.email)


def _document(visit: Visit) -> tuple[str, str]:
    """The name and the form in a document's address."""
    match = _DOCUMENT.fullmatch(visit.rest)
    return ("", "") if match is None else (match[1], match[2] or "")


def _limit(visit: Visit) -> int:
    limit = visit.query("limit") or "20"
    if _PAGE_SIZE.fullmatch(limit) is None:
        raise _bad("limit", f"limit must be a whole number from 1 to {PAGE_MOST}.")
    return int(limit)


def _kind(visit: Visit) -> TransferKind | None:
    name = visit.query("kind")
    try:
        return None if name is None else TransferKind(name)
    except ValueError:
        kinds = ", ".join(kind.value for kind in TransferKind)
        raise _bad("kind", f"kind must be one of {kinds}.") from None


def _list(data: list[dict[str, object]], *, has_more: bool) -> dict[str, object]:
    return {"object": "list", "data": data, "has_more": has_more}


def _bad(param: str, message: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, message, param=param)


def _absent(message: str, param: str, code: str) -> Fault:
    return Fault(Kind.NOT_FOUND, message, param=param, code=code)
