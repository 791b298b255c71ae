"""Welcome: what a start prints, and what a first start makes: the administrator's link and a first key to try."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from farebox.accounts.accounts import create_account
from farebox.accounts.administrators import has_administrator, new_link
from farebox.accounts.keys import mint_key
from farebox.accounts.plans import DEFAULT_PLAN
from farebox.app.office import Office
from farebox.app.stock import Stock, is_loopback
from farebox.core.money import write_nano
from farebox.core.rates import CHAT
from farebox.ledger.moves import Move, move
from farebox.ledger.rules import TransferKind
from farebox.providers.catalogue import SANDBOX
from farebox.store.database import Transaction

LINK_VARIABLE = "FAREBOX_ADMIN_LINK"
FIRST_ACCOUNT = "first"
FIRST_MODEL = "openai/gpt-4o-mini"
_SANDBOX_SAYS = "none, so the sandbox answers every model (marked x-sandbox: true)"
_NOBODY_SAYS = (
    "none, so there is nothing to sell: set a provider's key, such as OPENAI_API_KEY, or write farebox.toml"
)


def check_bind(office: Office, environment: Mapping[str, str]) -> None:
    """Refuse a public address before there is an administrator: whoever came first would be it."""
    host = office.settings.server.host
    if is_loopback(host) or environment.get(LINK_VARIABLE) == "1":
        return
    with office.database.read() as view:
        if not has_administrator(view):
            raise ValueError(
                f"{host} is a public address and there is no administrator yet: start once on 127.0.0.1 and use the"
                f" link, or set {LINK_VARIABLE}=1 to have it printed here"
            )


class Welcome(msgspec.Struct):
    """The lines of one start."""

    url: str
    link: str | None = None
    key: str | None = None
    credit: str = ""

    @classmethod
    def prepare(cls, office: Office, url: str, *, terminal: bool) -> Welcome:
        """Make what a first start needs; a key is made for a terminal alone, where only its owner reads it."""
        welcome = cls(url)
        with office.database.transaction() as work:
            if not has_administrator(work):
                welcome.link = f"{url}/setup?token={new_link(work, office.clock.now_us())}"
            if terminal and office.new:
                welcome._first_key(office, work)
        return welcome

    def _first_key(self, office: Office, work: Transaction) -> None:
        wallet, now_us = office.settings.wallet, office.clock.now_us()
        self.credit = f"{write_nano(wallet.starter_credit_nano)} {wallet.currency}"
        account = create_account(
            work, FIRST_ACCOUNT, plan=DEFAULT_PLAN, currency=wallet.currency, now_us=now_us
        )
        _, self.key = mint_key(work, office.ids, account_id=account.id, name="first", now_us=now_us)
        if wallet.starter_credit_nano:
            grant, amount = TransferKind.GRANT, wallet.starter_credit_nano
            move(work, Move(office.ids.new(), account.id, grant, amount, wallet.currency, "starter", now_us))

    def text(self, stock: Stock) -> str:
        """What to print once calls are answered."""
        names = ", ".join(name for name in stock.providers if name != SANDBOX)
        lines = [
            f"Farebox is ready on {self.url}",
            f"Providers: {names or (_SANDBOX_SAYS if stock.sandbox else _NOBODY_SAYS)}",
        ]
        if self.link:
            lines.append(f"Create the administrator (once, within a day): {self.link}")
        if self.key:
            lines.append(f"A first key with {self.credit} of credit, shown only now: {self.key}")
            lines.append(f"Try it:\n  {self._curl(self.key, _first_model(stock))}")
        return "\n".join(lines)

    def _curl(self, key: str, model: str) -> str:
        body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'
        return (
            f"curl {self.url}/v1/chat/completions -H 'Authorization: Bearer {key}'"
            f" -H 'Content-Type: application/json' -d '{body}'"
        )


def _first_model(stock: Stock) -> str:
    """A chat model that is for sale here."""
    if stock.catalogue.find(FIRST_MODEL) is not None:
        return FIRST_MODEL
    return next((listing.id for listing in stock.catalogue.listings if listing.kind == CHAT), FIRST_MODEL)
