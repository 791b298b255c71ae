"""Settings: frozen structs that mirror the TOML file member by member, with the defaults of what it leaves out.

A member whose Python name tells a unit that the file does not (`starter_credit_nano`) is renamed by its field.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from farebox.config.values import (
    Address,
    Amount,
    Currency,
    Database,
    Factor,
    HeaderName,
    Hidden,
    MailAddress,
    ModelId,
    Name,
    Network,
    Redis,
    Url,
    Webhook,
    When,
    Zone,
)
from farebox.core.money import NANO
from farebox.core.rates import Rates

DATABASE_FILE = "farebox.db"
_FILE = "sqlite:///"
_COUNT_MAX = 1_000_000_000  # Beyond any limit one would mean; a larger number is a slip of the finger.

Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Count = Annotated[int, Meta(ge=0, le=_COUNT_MAX)]
Positive = Annotated[int, Meta(ge=1, le=_COUNT_MAX)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Line = Annotated[str, Meta(min_length=1, max_length=120)]
LineOrNone = Annotated[str, Meta(max_length=120)]
SeriesName = Annotated[str, Meta(pattern=r"^[A-Z0-9]{1,8}$")]
ModelKind = Literal["chat", "image", "speech", "transcription", "embedding"]


class Server(Struct, frozen=True, forbid_unknown_fields=True):
    """`[server]`: where to listen, and how much at once."""

    host: Text = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 3273  # FARE on a keypad.
    base_url: Url = ""
    hosts: dict[str, Name] = field(default_factory=dict)
    trusted_proxies: tuple[Network, ...] = ()
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    body_limit_mb: Annotated[int, Meta(ge=1, le=1024)] = 32
    max_in_flight: Positive = 4000
    drain_s: Annotated[float, Meta(ge=0, le=86_400)] = 30
    rate_limit_reset: Literal["epoch", "duration"] = "epoch"
    access_log: Text = "off"
    metrics: Literal["off", "loopback", "open"] = "loopback"


class Store(Struct, frozen=True, forbid_unknown_fields=True):
    """`[store]`: where the books are kept, and how surely."""

    database: Database = Address()
    redis: Redis = ""
    durability: Literal["process", "power-loss"] = "process"
    idempotency_hours: Annotated[int, Meta(ge=1, le=168)] = 24  # How long a repeat gets the first's reply.
    responses_days: Annotated[int, Meta(ge=0, le=36_500)] = 30  # 0: no response is kept.


class Wallet(Struct, frozen=True, forbid_unknown_fields=True):
    """`[wallet]`: the one currency of the deployment, and how prices are made."""

    currency: Currency = "USD"
    starter_credit_nano: Amount = field(default=0, name="starter_credit")
    markup_nano: Factor = field(default=NANO, name="markup")
    # What one unit of each is worth in the wallet's currency.
    fx_nano: dict[str, Factor] = field(default_factory=dict, name="fx")
    time_zone: Zone = "UTC"
    # Customers are told of a dearer price this long before it takes effect.
    price_notice_days: Annotated[int, Meta(ge=0, le=365)] = 7
    margin_factor_nano: Amount = field(
        default=0, name="margin_factor"
    )  # 0: prices are not held against costs.
    margin_action: Literal["reroute", "refuse", "reprice"] = "reroute"


class Provider(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[providers]]`: one address we buy from. A key written as `$NAME` has been looked up."""

    name: Name
    base_url: Url
    dialect: str = "openai_chat"
    api_key: Hidden | None = None
    headers: dict[str, Hidden] = field(default_factory=dict)
    connect_timeout_s: Seconds = 10
    first_byte_timeout_s: Seconds = 60
    idle_timeout_s: Seconds = 120
    total_timeout_s: Seconds = 600
    keep_alive_s: Seconds = 15
    # None: as this release's row of that name says, else as the dialect or most providers do.
    auth_header: HeaderName | None = None
    quirks: tuple[str, ...] | None = None
    cache_marks: bool | None = None
    stream_usage: bool | None = None
    cancel_stops_billing: bool | None = None
    markup_nano: Factor | None = field(default=None, name="markup")  # Of the models it is the first route of.

    @property
    def stream_total_timeout_s(self) -> float:
        """A stream may take an hour, or longer where the operator allows longer for everything."""
        return max(3600.0, self.total_timeout_s)


class Route(Struct, frozen=True, forbid_unknown_fields=True):
    """One member of a model's `routes`: who serves it, under which name."""

    provider: Name
    model: Text
    order: Count = 1  # Lower goes first.
    weight: Annotated[int, Meta(ge=1, le=1_000_000)] = 1  # Shares among routes of equal order.
    cost: Rates | None = None  # Instead of the model's own.


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[models]]`: a listing that the release catalogue lacks, or what differs from it."""

    id: ModelId
    name: Text | None = None
    kind: ModelKind = "chat"
    context_window: Positive | None = None
    max_output: Positive | None = None
    aliases: tuple[ModelId, ...] = ()
    cost: Rates | None = None  # What the operator pays.
    price: Rates | None = None  # What the customer pays, set by hand.
    markup_nano: Factor | None = field(default=None, name="markup")  # Instead of any other markup.
    routes: tuple[Route, ...] = ()


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[plans]]`: what differs from a built-in plan, or a plan of the operator's own. None: not given."""

    name: Name
    chat_rpm: Count | None = None
    image_rpm: Count | None = None
    tokens_per_minute: Count | None = None
    concurrency: Count | None = None
    models: tuple[Text, ...] | None = None
    markup_nano: Factor | None = field(default=None, name="markup")


class DatedPrice(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[prices]]`: from when models sell, or cost, differently. One of price, markup and cost."""

    model: Text  # An id, or a shell pattern over ids.
    starts: When = field(name="from")
    price: Rates | None = None
    markup_nano: Factor | None = field(default=None, name="markup")
    cost: Rates | None = None
    provider: Name | None = None  # Whose cost; None: every provider's.
    notice: bool = True  # False: customers need not be told ahead of an increase.


class DatedRate(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[fx]]`: from when one unit of a currency is worth something else in the wallet's."""

    currency: Currency
    rate_nano: Factor = field(name="rate")
    starts: When = field(name="from")
    notice: bool = True


class Alerts(Struct, frozen=True, forbid_unknown_fields=True):
    """`[alerts]`: where the operator is told."""

    email: MailAddress = ""
    webhook: Webhook | None = None
    webhook_secret: Hidden | None = None
    allow_private: bool = False  # The operator's own webhook may be on a private address, and in the clear.


class Email(Struct, frozen=True, forbid_unknown_fields=True):
    """`[email]`: the mail server that notices leave by. Without a host no mail is sent."""

    host: Annotated[str, Meta(max_length=255)] = ""
    port: Annotated[int, Meta(ge=1, le=65_535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: MailAddress = ""
    user: Annotated[str, Meta(max_length=255)] = ""
    password: Hidden | None = None


class TaxLine(Struct, frozen=True, forbid_unknown_fields=True):
    """One member of `tax_lines`: a named part of the tax. 100 basis points are 1 %."""

    name: Line
    basis_points: Annotated[int, Meta(ge=1, le=10_000)]


class Invoices(Struct, frozen=True, forbid_unknown_fields=True):
    """`[invoices]`: what stands on invoices from now on; an issued one never changes."""

    seller: LineOrNone = ""
    address: Annotated[tuple[Line, ...], Meta(max_length=6)] = ()
    region: LineOrNone = ""
    tax_id: LineOrNone = ""
    tax_id_name: Line = "Tax ID"
    email: MailAddress = ""
    prefix: SeriesName = "INV"
    credit_note_prefix: SeriesName = "CN"
    year_start_month: Annotated[int, Meta(ge=1, le=12)] = 1  # In which a year of numbers begins.
    item: Line = "Prepaid credit for AI model usage"
    item_code: LineOrNone = ""
    tax_lines: Annotated[tuple[TaxLine, ...], Meta(max_length=8)] = ()
    tax_lines_away: Annotated[tuple[TaxLine, ...], Meta(max_length=8)] = ()  # For a buyer of another region.
    note: Annotated[str, Meta(max_length=1000)] = ""
    paper: Literal["a4", "letter"] = "a4"
    fonts: Annotated[tuple[Text, ...], Meta(max_length=8)] = ()


class StripeKeys(Struct, frozen=True, forbid_unknown_fields=True):
    """`[payments.stripe]`. Without the secret of its webhooks there is no address for them."""

    secret_key: Hidden | None = None
    webhook_secret: Hidden | None = None
    api_base: Url = ""


class RazorpayKeys(Struct, frozen=True, forbid_unknown_fields=True):
    """`[payments.razorpay]`. Without the secret of its webhooks there is no address for them."""

    key_id: Hidden | None = None
    key_secret: Hidden | None = None
    webhook_secret: Hidden | None = None
    api_base: Url = ""


class Payments(Struct, frozen=True, forbid_unknown_fields=True):
    """`[payments]`: who takes payments, of how much, and the tax on top of the credit."""

    processors: tuple[Literal["stripe", "razorpay", "dev"], ...] = ()
    minimum_nano: Factor = field(default=5 * NANO, name="minimum")
    maximum_nano: Factor = field(default=10_000 * NANO, name="maximum")
    tax_rate_basis_points: Annotated[int, Meta(ge=0, le=10_000)] = 0  # 100 of them are 1 %.
    tax_name: Annotated[str, Meta(max_length=100)] = ""
    stripe: StripeKeys = StripeKeys()
    razorpay: RazorpayKeys = RazorpayKeys()


class File(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of a configuration file."""

    server: Server = Server()
    store: Store = Store()
    wallet: Wallet = Wallet()
    providers: tuple[Provider, ...] = ()
    models: tuple[Model, ...] = ()
    plans: tuple[Plan, ...] = ()
    alerts: Alerts = Alerts()
    email: Email = Email()
    invoices: Invoices = Invoices()
    payments: Payments = Payments()
    prices: tuple[DatedPrice, ...] = ()
    fx: tuple[DatedRate, ...] = ()


class Settings(File, frozen=True):
    """What this process runs by: file, environment and defaults in one."""

    from_file: bool = False  # With a file nothing is discovered.
    source: Mapping[str, str] = field(
        default_factory=dict
    )  # Key path → "farebox.toml:12"; absent: a default.


class Known(Struct, frozen=True):
    """Names that settings may refer to. The composition root gives them, so that config imports no other part."""

    dialects: frozenset[str]
    profiles: frozenset[str]
    plans: frozenset[str]
    quirks: frozenset[str] = frozenset()


def find_fx_nano(wallet: Wallet, currency: str) -> int | None:
    """What one unit of a currency is worth in the wallet's, in nano-units; None where the operator has not said."""
    return NANO if currency == wallet.currency else wallet.fx_nano.get(currency)


def database_file(store: Store, data: Path) -> Path | None:
    """Where the SQLite file stands: as configured, relative to the working directory, else in the data directory.

    None where the database is on a server.
    """
    if not store.database:
        return data / DATABASE_FILE
    return Path(store.database.removeprefix(_FILE)) if store.database.startswith(_FILE) else None
