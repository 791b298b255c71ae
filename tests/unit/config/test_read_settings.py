"""Reading settings: the file, the environment over it, defaults below it."""

from __future__ import annotations

import tomllib
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec
import pytest

from farebox.config.environment import section_keys, variable_for
from farebox.config.origin import ConfigError
from farebox.config.read import read_settings
from farebox.config.settings import (
    File,
    Known,
    Model,
    Plan,
    Provider,
    RazorpayKeys,
    Route,
    Server,
    Settings,
    Store,
    StripeKeys,
    TaxLine,
    Wallet,
    database_file,
    find_fx_nano,
)
from farebox.config.shape import find_reader
from farebox.config.values import Address, Amount, Factor, Secret
from farebox.core.rates import KINDS, Rates

KNOWN = Known(
    dialects=frozenset({"openai_chat", "anthropic"}),
    profiles=frozenset({"standard", "console", "serika", "openserv"}),
    plans=frozenset({"free", "standard", "premium", "pro", "enterprise"}),
    quirks=frozenset({"no_stop"}),
)

EXAMPLE = """\
[server]
host = "127.0.0.1"
port = 3273                                          # FARE on a keypad; 8080 is llama.cpp's
base_url = "https://ai.example/"
hosts = { "inference-api.example" = "openserv" }
trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]
body_limit_mb = 32
drain_s = 2.5
[store]
database = "sqlite:///farebox-data/farebox.db"      # or postgresql://…
durability = "power-loss"
[wallet]
currency = "INR"
starter_credit = "10"
markup = "1.20"                                      # price = cost x markup x fx
fx = { USD = "88.00" }                               # one USD in the wallet's currency
time_zone = "Asia/Kolkata"
[[providers]]
name = "openai"
dialect = "openai_chat"
base_url = "https://api.openai.com/v1"
api_key = "$OPENAI_API_KEY"
connect_timeout_s = 10
first_byte_timeout_s = 60
idle_timeout_s = 120
total_timeout_s = 600
keep_alive_s = 15
quirks = ["no_stop"]
headers = { "X-Team" = "$TEAM", "X-Plain" = "plain" }
[[providers]]
name = "local"
base_url = "http://127.0.0.1:9000/v1"
total_timeout_s = 7200
[[models]]                                           # a model of the release catalogue needs no row
id = "openai/gpt-4o-mini"
kind = "chat"
context_window = 128000
max_output = 16384
aliases = ["gpt-4o-mini-2024-07-18"]
cost = { currency = "USD", input = "0.15", output = "0.60", cache_read = "0.075", cache_write = "0.15" }
price = { currency = "INR", input = "16", output = "64" }
routes = [ { provider = "openai", model = "gpt-4o-mini", order = 1, weight = 1 },
           { provider = "local", model = "mini", cost = { currency = "INR", input = "0", output = "0" } } ]
[[models]]
id = "draw"
kind = "image"
cost = { currency = "USD", image = { "1024x1024/hd" = "0.08", "" = "0.04" } }
[[plans]]
name = "enterprise"
chat_rpm = 100000                                    # 0 = not available
image_rpm = 100000
models = ["openai/*"]
markup = "1.5"
"""
KEYS = {"OPENAI_API_KEY": "sk-canary-of-openai", "TEAM": "canary-team"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "farebox.toml"
    path.write_text(EXAMPLE)
    return path


def from_text(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    path = tmp_path / "farebox.toml"
    path.write_text(text)
    return read_settings(path, environment or {}, KNOWN)


def test_the_example_of_the_documentation_is_read_whole(file: Path) -> None:
    settings = read_settings(file, KEYS, KNOWN)
    assert settings.server == Server(
        base_url="https://ai.example",
        hosts={"inference-api.example": "openserv"},
        trusted_proxies=("127.0.0.1", "10.0.0.0/8"),
        drain_s=2.5,
    )
    assert settings.store == Store(
        database=Address("sqlite:///farebox-data/farebox.db"),
        durability="power-loss",
    )
    assert settings.wallet.currency == "INR"
    assert settings.wallet.starter_credit_nano == 10_000_000_000
    assert settings.wallet.markup_nano == 1_200_000_000
    assert settings.wallet.fx_nano == {"USD": 88_000_000_000}
    assert settings.wallet.time_zone == "Asia/Kolkata"

    openai, local = settings.providers
    assert (openai.name, openai.dialect, openai.base_url) == (
        "openai",
        "openai_chat",
        "https://api.openai.com/v1",
    )
    assert openai.api_key == "sk-canary-of-openai"
    assert openai.headers == {"X-Team": "canary-team", "X-Plain": "plain"}
    assert openai.quirks == ("no_stop",)
    assert (openai.total_timeout_s, openai.stream_total_timeout_s) == (600, 3600)
    assert (local.total_timeout_s, local.stream_total_timeout_s) == (7200, 7200)
    assert local.api_key is None

    mini, draw = settings.models
    assert (mini.id, mini.kind, mini.context_window, mini.max_output) == (
        "openai/gpt-4o-mini",
        "chat",
        128_000,
        16_384,
    )
    assert mini.aliases == ("gpt-4o-mini-2024-07-18",)
    assert mini.cost == Rates("USD", 150_000_000, 600_000_000, cache_read=75_000_000, cache_write=150_000_000)
    assert mini.price == Rates("INR", 16_000_000_000, 64_000_000_000)
    assert [(route.provider, route.model, route.order, route.weight) for route in mini.routes] == [
        ("openai", "gpt-4o-mini", 1, 1),
        ("local", "mini", 1, 1),
    ]
    assert mini.routes[1].cost == Rates("INR", 0, 0)
    assert draw.cost == Rates("USD", images=(("", 40_000_000), ("1024x1024/hd", 80_000_000)))

    (plan,) = settings.plans
    assert (plan.name, plan.chat_rpm, plan.image_rpm, plan.models) == (
        "enterprise",
        100_000,
        100_000,
        ("openai/*",),
    )
    assert plan.markup_nano == 1_500_000_000
    assert settings.from_file


def test_what_a_plan_leaves_out_is_not_given(tmp_path: Path) -> None:
    (plan,) = from_text(tmp_path, '[[plans]]\nname = "free"\nchat_rpm = 0').plans
    assert (plan.chat_rpm, plan.image_rpm, plan.tokens_per_minute, plan.concurrency) == (0, None, None, None)
    assert (plan.models, plan.markup_nano) == (None, None)


def test_an_empty_key_is_no_key(tmp_path: Path) -> None:
    row = '[[providers]]\nname = "p"\nbase_url = "http://127.0.0.1:1/v1"\n'
    assert from_text(tmp_path, f'{row}api_key = ""').providers[0].api_key is None


def test_utc_is_known_on_a_machine_without_time_zone_data(tmp_path: Path) -> None:
    paths = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert from_text(tmp_path, '[wallet]\ntime_zone = "UTC"').wallet.time_zone == "UTC"
    finally:
        zoneinfo.reset_tzpath(to=paths)


def test_without_a_file_the_first_key_has_something_to_spend() -> None:
    settings = read_settings(None, {}, KNOWN)
    assert (settings.wallet.currency, settings.wallet.markup_nano) == ("USD", 1_000_000_000)
    assert settings.wallet.starter_credit_nano == 10_000_000_000
    assert (settings.server, settings.store) == (Server(), Store())
    assert (settings.providers, settings.models, settings.plans) == ((), (), ())
    assert not settings.from_file
    assert dict(settings.source) == {}


def test_a_file_that_leaves_everything_out_gives_nothing_away(tmp_path: Path) -> None:
    settings = from_text(tmp_path, "")
    assert settings.wallet == Wallet()
    assert (settings.wallet.currency, settings.wallet.starter_credit_nano) == ("USD", 0)
    assert settings.from_file


def test_a_byte_order_mark_and_foreign_line_ends_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "farebox.toml"
    path.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 1\r\nprot = 2\r\n")
    with pytest.raises(ConfigError) as caught:
        read_settings(path, {}, KNOWN)
    assert caught.value.line == 3


# A text for a variable, and what must become of it, by the type of a setting: a setting of a new type needs a line.
SAMPLES: dict[str, tuple[str, object]] = {
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("0", 0),
    "base_url": ("https://ai.example", "https://ai.example"),
    "hosts": ('{ "a.example" = "openserv" }', {"a.example": "openserv"}),
    "trusted_proxies": ('["::1", "10.0.0.0/8"]', ("::1", "10.0.0.0/8")),
    "database": ("sqlite:////var/lib/farebox.db", "sqlite:////var/lib/farebox.db"),
    "currency": ("INR", "INR"),
    "price_notice_days": ("14", 14),
    "margin_factor": ("1.05", 1_050_000_000),
    "margin_action": ("reprice", "reprice"),
    "fx": ('{ EUR = "88.5" }', {"EUR": 88_500_000_000}),
    "time_zone": ("Asia/Kolkata", "Asia/Kolkata"),
    "access_log": ("stdout", "stdout"),
    "alerts.email": ("ops@shop.example", "ops@shop.example"),
    "webhook": ("https://hooks.example/x?token=1", "https://hooks.example/x?token=1"),
    "webhook_secret": ("whsec_c2VjcmV0", "whsec_c2VjcmV0"),
    "email.host": ("smtp.example", "smtp.example"),
    "email.port": ("25", 25),
    "sender": ("billing@shop.example", "billing@shop.example"),
    "user": ("shop", "shop"),
    "password": ("letmein", "letmein"),
    "seller": ("Acme", "Acme"),
    "address": ('["1 Road", "Town"]', ("1 Road", "Town")),
    "region": ("Karnataka", "Karnataka"),
    "tax_id": ("29ABC", "29ABC"),
    "tax_id_name": ("GSTIN", "GSTIN"),
    "invoices.email": ("pay@shop.example", "pay@shop.example"),
    "prefix": ("ACME", "ACME"),
    "credit_note_prefix": ("BACK", "BACK"),
    "item": ("Credit", "Credit"),
    "item_code": ("998319", "998319"),
    "tax_lines": ('[{ name = "VAT", basis_points = 2000 }]', (TaxLine("VAT", 2000),)),
    "tax_lines_away": ('[{ name = "VAT", basis_points = 2000 }]', (TaxLine("VAT", 2000),)),
    "note": ("Thank you.", "Thank you."),
    "fonts": ('["/a.ttf"]', ("/a.ttf",)),
    "processors": ('["dev"]', ("dev",)),
    "maximum": ("20000", 20_000_000_000_000),
    "tax_name": ("VAT", "VAT"),
    "payments.stripe": ('{ secret_key = "k" }', StripeKeys(secret_key=Secret("k"))),
    "payments.razorpay": ('{ key_id = "k" }', RazorpayKeys(key_id=Secret("k"))),
}
TAXED = {"FAREBOX_PAYMENTS__TAX_RATE_BASIS_POINTS": "2000", "FAREBOX_PAYMENTS__TAX_NAME": "VAT"}
# Settings that are refused alone, and what they want beside them.
BESIDE = {
    "alerts.email": {"FAREBOX_EMAIL__HOST": "smtp.example", "FAREBOX_EMAIL__SENDER": "billing@shop.example"},
    "email.host": {"FAREBOX_EMAIL__SENDER": "billing@shop.example"},
    "invoices.tax_lines": TAXED,
    "payments.tax_rate_basis_points": {"FAREBOX_PAYMENTS__TAX_NAME": "VAT"},
    "invoices.tax_lines_away": TAXED
    | {"FAREBOX_INVOICES__TAX_LINES": '[{ name = "VAT", basis_points = 2000 }]'},
}


def sample(section: str, key: str, kind: Any) -> tuple[str, object]:
    """A text that differs from the default, and its value."""
    if f"{section}.{key}" in SAMPLES:
        return SAMPLES[f"{section}.{key}"]
    if key in SAMPLES:
        return SAMPLES[key]
    if find_reader(kind) in {find_reader(Amount), find_reader(Factor)}:
        return "2.5", 2_500_000_000
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if plain is int:
        return "7", 7
    if plain is float:
        return "0.5", 0.5
    if plain is bool:
        return "true", True
    last = get_args(kind)[-1]  # Of a Literal; anything else has no last, and wants a line above.
    return last, last


@pytest.mark.parametrize(
    ("path", "kind"),
    section_keys().items(),
    ids=lambda part: ".".join(part) if isinstance(part, tuple) else "",
)
def test_every_setting_of_a_section_can_come_from_the_environment(path: tuple[str, str], kind: Any) -> None:
    section, key = path
    variable = f"FAREBOX_{section.upper()}__{key.upper()}"
    assert variable == variable_for(section, key)
    if path == ("store", "redis"):  # The one that has no good value yet.
        with pytest.raises(ConfigError, match=f"^{variable}: Redis is not supported yet"):
            read_settings(None, {variable: "redis://127.0.0.1:6379/0"}, KNOWN)
        return
    text, value = sample(section, key, kind)
    settings = read_settings(None, {variable: text, **BESIDE.get(f"{section}.{key}", {})}, KNOWN)
    struct = getattr(settings, section)
    name = struct.__struct_fields__[struct.__struct_encode_fields__.index(key)]
    assert getattr(struct, name) == value
    assert getattr(struct, name) != getattr(type(struct)(), name), "the sample must differ from the default"
    assert settings.source[f"{section}.{key}"] == f"environment {variable}"


def test_the_sections_are_all_there() -> None:
    assert {section for section, _ in section_keys()} == {
        "server",
        "store",
        "wallet",
        "alerts",
        "email",
        "invoices",
        "payments",
    }


def test_the_environment_wins_over_the_file(file: Path) -> None:
    environment = KEYS | {"FAREBOX_SERVER__PORT": "4000", "FAREBOX_WALLET__FX": '{ USD = "90", EUR = "100" }'}
    settings = read_settings(file, environment, KNOWN)
    assert settings.server.port == 4000
    assert settings.wallet.fx_nano == {"USD": 90_000_000_000, "EUR": 100_000_000_000}
    assert settings.source["server.port"] == "environment FAREBOX_SERVER__PORT"
    assert settings.source["server.host"] == f"{file}:2"
    assert settings.source["providers[1].base_url"] == f"{file}:32"
    assert "wallet.fx.USD" not in settings.source, "the file's table is replaced whole"
    assert "store.redis" not in settings.source


def test_an_empty_variable_says_nothing(file: Path) -> None:
    settings = read_settings(file, KEYS | {"FAREBOX_SERVER__PORT": "", "FAREBOX_WALLET__CURRENCY": ""}, KNOWN)
    assert (settings.server.port, settings.wallet.currency) == (3273, "INR")


def test_names_without_a_double_underscore_are_no_settings() -> None:
    others = {
        "FAREBOX_SECRET": "x",
        "FAREBOX_ADMIN_LINK": "1",
        "FAREBOX": "x",
        "OTHER__PORT": "1",
        "MY_FAREBOX_A__B": "",
    }
    assert read_settings(None, others, KNOWN) == read_settings(None, {}, KNOWN)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("FAREBOX_SERVER__PROT", "1", 'no such setting (did you mean "FAREBOX_SERVER__PORT"?)'),
        ("FAREBOX_SERVER__PROT", "", 'no such setting (did you mean "FAREBOX_SERVER__PORT"?)'),
        ("FAREBOX_server__port", "1", 'no such setting (did you mean "FAREBOX_SERVER__PORT"?)'),
        ("FAREBOX_SERVER__PORT__X", "1", 'no such setting (did you mean "FAREBOX_SERVER__PORT"?)'),
        ("FAREBOX_SERVE__PORT", "1", 'no such setting (did you mean "FAREBOX_SERVER__PORT"?)'),
        ("FAREBOX_PLANS__0__CHAT_RPM", "1", "no such setting"),
        ("FAREBOX_SERVER__PORT", "many", "expected a whole number, got text"),
        ("FAREBOX_SERVER__PORT", "1.5", "expected a whole number, got a number"),
        ("FAREBOX_SERVER__PORT", "true", "expected a whole number, got true or false"),
        ("FAREBOX_SERVER__PORT", "1\nhost = 2", "expected a whole number, got text"),
        ("FAREBOX_SERVER__PORT", "65536", "must be at most 65535"),
        ("FAREBOX_SERVER__DRAIN_S", "nan", "must be at least 0"),
        ("FAREBOX_SERVER__DRAIN_S", "inf", "must be at most 86400"),
        ("FAREBOX_SERVER__METRICS", "yes", 'write one of "off", "loopback", "open"'),
        ("FAREBOX_SERVER__TRUSTED_PROXIES", "10.0.0.1", "expected a list, got text"),
        ("FAREBOX_WALLET__MARKUP", "0", "must be more than 0"),
        ("FAREBOX_WALLET__STARTER_CREDIT", "-1", "must not be negative"),
        (
            "FAREBOX_STORE__DATABASE",
            "postgresql://u:can@ary@db/x",
            "write postgresql://USER:PASSWORD@HOST:PORT/NAME; in a password / is %2F, @ %40, ? %3F and # %23",
        ),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(variable: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(None, {variable: text}, KNOWN)
    assert str(caught.value) == f"{variable}: {message}"
    assert (caught.value.path, caught.value.line) == (variable, None)


def test_a_refused_member_of_a_variable_is_named_within_it() -> None:
    with pytest.raises(
        ConfigError, match=r"^FAREBOX_SERVER__TRUSTED_PROXIES\[1\]: 'moon' is not an IP address"
    ):
        read_settings(None, {"FAREBOX_SERVER__TRUSTED_PROXIES": '["::1", "moon"]'}, KNOWN)
    with pytest.raises(ConfigError, match=r"^FAREBOX_WALLET__FX.USD: write amounts in quotes"):
        read_settings(None, {"FAREBOX_WALLET__FX": "{ USD = 88.0 }"}, KNOWN)


def test_one_unit_of_the_wallets_own_currency_is_one() -> None:
    wallet = read_settings(None, {"FAREBOX_WALLET__FX": '{ EUR = "1.1" }'}, KNOWN).wallet
    assert find_fx_nano(wallet, "USD") == 1_000_000_000
    assert find_fx_nano(wallet, "EUR") == 1_100_000_000
    assert find_fx_nano(wallet, "INR") is None


@pytest.mark.parametrize(
    ("address", "file_name"),
    [
        ("", "data/farebox.db"),
        ("sqlite:///books/a.db", "books/a.db"),
        ("sqlite:////var/lib/a.db", "/var/lib/a.db"),
    ],
)
def test_three_slashes_are_relative_and_four_absolute(address: str, file_name: str) -> None:
    store = read_settings(None, {"FAREBOX_STORE__DATABASE": address}, KNOWN).store
    assert database_file(store, Path("data")) == Path(file_name)


def test_a_database_on_a_server_is_no_file() -> None:
    store = read_settings(None, {"FAREBOX_STORE__DATABASE": "postgresql://db/books"}, KNOWN).store
    assert store.database == "postgresql://db/books"
    assert database_file(store, Path("data")) is None


def test_the_kinds_of_models_are_those_that_have_rates() -> None:
    assert set(get_args(get_args_of(Model, "kind"))) == set(KINDS)


def get_args_of(struct: type[msgspec.Struct], name: str) -> Any:
    return next(field.type for field in msgspec.structs.fields(struct) if field.name == name)


@pytest.mark.parametrize(
    "struct", [File, Settings, Server, Store, Wallet, Provider, Model, Route, Plan, Known]
)
def test_settings_are_frozen(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.frozen


@pytest.mark.parametrize("struct", [File, Server, Store, Wallet, Provider, Model, Route, Plan])
def test_what_is_read_from_a_file_admits_no_unknown_key(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.forbid_unknown_fields


def test_settings_hold_no_bare_float_or_text_for_money() -> None:
    money = {find_reader(Amount), find_reader(Factor)}
    paths = {path for path, kind in section_keys().items() if find_reader(kind) in money}
    wallet = {("wallet", name) for name in ("starter_credit", "markup", "margin_factor")}
    assert paths == wallet | {("payments", "minimum"), ("payments", "maximum")}
    assert get_origin(section_keys()["wallet", "fx"]) is dict
    assert tomllib.loads(EXAMPLE)["wallet"]["markup"] == "1.20"


def test_settings_hold_plain_values_that_any_encoder_takes(file: Path) -> None:
    settings = read_settings(file, KEYS, KNOWN)
    assert msgspec.json.decode(msgspec.json.encode(settings.wallet))["currency"] == "INR"
    assert msgspec.json.encode((settings.server, settings.models, settings.plans))
    with pytest.raises(TypeError, match="Secret"):  # But no encoder takes a secret.
        msgspec.json.encode(settings.providers)
