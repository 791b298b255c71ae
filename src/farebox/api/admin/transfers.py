"""Credit over HTTP: money into a wallet and out of it by hand, and what a wallet has gone through."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from farebox.api.admin.accounts import account_words, get_named
from farebox.api.admin.action import (
    Action,
    Ask,
    Done,
    Page,
    Post,
    Said,
    Words,
    bad,
    list_words,
    reading,
    writing,
)
from farebox.api.admin.shop import Shop
from farebox.api.admin.words import read_nano, seconds
from farebox.billing.papers.history import ModelEntry, Wanted, find_page
from farebox.core.errors import Fault, Kind
from farebox.core.money import MAX_NANO, write_nano
from farebox.ledger.moves import Clash, Move, Short, move
from farebox.ledger.rules import TransferKind
from farebox.store.database import Transaction

# Of these alone an amount may be negative: it takes money out.
_TAKES = frozenset({TransferKind.CORRECTION})


class Create(Post, frozen=True, kw_only=True):
    """The body of a POST to `transfers`. The `id` is the transfer's; a top-up is what was paid for, a grant a gift."""

    kind: Literal["top_up", "grant", "correction", "refund"]
    amount: Annotated[str, Meta(max_length=64)]
    reason: Annotated[str, Meta(max_length=500)] | None = None


class Filter(Page, frozen=True, kw_only=True):
    """The query of a list of transfers."""

    kind: Literal["charge", "top_up", "grant", "correction", "refund"] | None = None


def transfer_actions(shop: Shop) -> list[Action]:
    """The rows of the table."""
    transfers = _Transfers(shop)
    return [
        writing("POST", "accounts/{account}/transfers", "transfer.create", Create, transfers.create),
        reading("accounts/{account}/transfers", Filter, transfers.list),
        reading("accounts/{account}/wallet", Said, transfers.wallet),
    ]


class _Transfers:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def create(self, ask: Ask, said: Create, work: Transaction) -> Done:
        account, kind = get_named(ask, work), TransferKind(said.kind)
        nano = read_nano("amount", said.amount, least=-MAX_NANO if kind in _TAKES else 0)
        if not nano:
            raise bad("amount", "amount is zero.")
        id_ = said.id or ask.ids.new()
        if _is_payments(work, id_):
            raise _clash()
        before = account_words(work, account)
        transfer = Move(id_, account.id, kind, nano, self._shop.currency, said.reason, ask.now_us)
        booked = move(work, transfer)
        if isinstance(booked, Clash):
            raise _clash()
        if isinstance(booked, Short):
            raise Fault(
                Kind.CONFLICT,
                f"The wallet has {write_nano(booked.available_nano)} free: nothing was moved."
                if nano < 0
                else "The wallet would hold more than the ledger can: nothing was moved.",
                code="not_enough_free",
                param="amount",
            )
        after = account_words(work, account)
        words = {
            "id": id_,
            "object": "transfer",
            "account": account.name,
            "kind": kind.value,
            "amount": write_nano(nano),
            "currency": self._shop.currency,
            "reason": said.reason,
            "balance_after": after["balance"],
            "created": seconds(ask.now_us),
        }
        return Done(f"transfer:{id_}", words, {"balance": before["balance"]})

    def list(self, ask: Ask, said: Filter, view: Transaction) -> Words:
        account = get_named(ask, view)
        kind = None if said.kind is None else TransferKind(said.kind)
        page = find_page(view, account.id, Wanted(said.limit, kind, before=said.cursor))
        if page is None:
            raise bad("cursor", "cursor must be the `next` of a list.")
        data = [_entry_words(entry, account.name) for entry in page.entries]
        return list_words(data, page.entries[-1].id if page.has_more else None)

    def wallet(self, ask: Ask, said: Said, view: Transaction) -> Words:
        del said
        words = account_words(view, get_named(ask, view))
        members = ("balance", "held", "spendable", "spent", "currency")
        return {"object": "wallet", "account": words["name"]} | {name: words[name] for name in members}


def _is_payments(view: Transaction, id_: str) -> bool:
    """Whether the id is a payment's, whose transfer its processor brings."""
    tables = ("topups", "topup_refunds", "topup_disputes")
    return any(view.one(f"SELECT 1 FROM {table} WHERE id = ?", id_) for table in tables)  # noqa: S608 -- as above


def _clash() -> Fault:
    return Fault(Kind.CONFLICT, "Another transfer has this id.", param="id")


def _entry_words(entry: ModelEntry, account: str) -> Words:
    return {
        "id": entry.id,
        "object": "transfer",
        "account": account,
        "kind": entry.kind,
        "amount": write_nano(entry.amount_nano),
        "currency": entry.currency,
        "reason": entry.reason,
        "balance_after": write_nano(entry.balance_after_nano),
        "request_id": entry.request_id,
        "model": entry.model,
        "input_tokens": entry.input_tokens,
        "output_tokens": entry.output_tokens,
        "created": seconds(entry.at_us),
    }
