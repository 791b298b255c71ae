"""Showing settings tells all of them, where each came from, and no secret; the page of the documentation as well."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from farebox.config.read import read_settings
from farebox.config.settings import (
    Alerts,
    DatedPrice,
    DatedRate,
    Email,
    File,
    Invoices,
    Known,
    Model,
    Payments,
    Plan,
    Provider,
    RazorpayKeys,
    Route,
    Server,
    Settings,
    Store,
    StripeKeys,
    Wallet,
)
from farebox.config.show import show_settings, write_value

KNOWN = Known(
    dialects=frozenset({"openai_chat"}),
    profiles=frozenset({"openserv"}),
    plans=frozenset({"free", "enterprise"}),
)
EVERYTHING = r"""
[server]
hosts = { "a.example" = "openserv" }
trusted_proxies = ["::1"]
drain_s = 2.5
[wallet]
starter_credit = "0.000000001"
markup = "1.20"
fx = { INR = "0.0114" }
[[providers]]
name = "p"
base_url = "http://127.0.0.1:1/v1"
api_key = "sk-canary-1"
headers = { "x-team" = "sk-canary-2", "x-more" = "$MORE" }
stream_usage = false
[[providers]]
name = "q"
base_url = "http://127.0.0.1:2/v1"
idle_timeout_s = 90
api_key = "$KEY"
[[models]]
id = "m"
name = "A \"model\" \\ \u007f é"
aliases = ["n"]
cost = { currency = "USD", input = "0.15", output = "0", tiers = [{ above_input_tokens = 200000, input = "0.3" }] }
price = { currency = "USD", request = "0.01", image = { "1024x1024/hd" = "0.08", "" = "0.04" } }
routes = [ { provider = "p", model = "x", cost = { currency = "INR", input = "1" } }, { provider = "q", model = "y" } ]
[[plans]]
name = "free"
chat_rpm = 0
markup = "2"
[[prices]]
model = "m*"
from = "2026-12-01"
markup = "1.3"
notice = false
[[prices]]
model = "m"
from = "2026-12-01T00:00:00+05:30"
cost = { currency = "INR", input = "2" }
provider = "p"
[[fx]]
currency = "INR"
rate = "0.0115"
from = "2026-12-01"
[alerts]
webhook_secret = "canary-5"
[email]
password = "$MORE"
"""
ENVIRONMENT = {"KEY": "sk-canary-3", "MORE": "sk-canary-4", "FAREBOX_SERVER__PORT": "4000"}
DOCS = Path(__file__).resolve().parents[3] / "docs" / "settings.md"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "farebox.toml"
    path.write_text(EVERYTHING)
    return read_settings(path, ENVIRONMENT, KNOWN)


def test_what_is_shown_reads_back_as_the_same_settings_but_for_secrets(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "shown.toml"
    path.write_text(show_settings(settings))
    again = read_settings(path, {}, KNOWN)
    for name in ("server", "store", "wallet", "models", "plans", "prices", "fx"):
        assert getattr(again, name) == getattr(settings, name)
    for shown, true in zip(again.providers, settings.providers, strict=True):
        assert shown.api_key == "***"
        assert shown == msgspec.structs.replace(
            true, api_key=shown.api_key, headers=dict.fromkeys(true.headers, shown.api_key)
        )


def test_no_secret_is_ever_shown_or_printed(settings: Settings) -> None:
    secrets = [
        settings.providers[0].api_key,
        settings.providers[1].api_key,
        *settings.providers[0].headers.values(),
    ]
    assert secrets == ["sk-canary-1", "sk-canary-3", "sk-canary-2", "sk-canary-4"]
    for text in (
        show_settings(settings),
        repr(settings),
        str(settings),
        f"{settings.providers}",
        str(secrets),
    ):
        assert "***" in text
        assert "canary" not in text


def test_the_operators_webhook_is_hidden_for_its_token(tmp_path: Path) -> None:
    path = tmp_path / "farebox.toml"
    path.write_text('[alerts]\nwebhook = "https://hooks.example/canary"\n')
    settings = read_settings(path, {}, KNOWN)
    assert settings.alerts.webhook == "https://hooks.example/canary"
    assert "canary" not in show_settings(settings) + repr(settings)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:canary@db.internal:5432/books", "postgresql://u:***@db.internal:5432/books"),
        ("postgres://u:canary@/books?host=/run/pg", "postgres://u:***@/books?host=/run/pg"),
        (
            "postgresql://u:can%40ary:canary@db/books?sslmode=require",
            "postgresql://u:***@db/books?sslmode=require",
        ),
        ("postgresql://db/books?user=u&password=canary", "postgresql://db/books?user=u&password=***"),
        ("postgresql://u@db/books", "postgresql://u@db/books"),
        ("sqlite:///books/a.db", "sqlite:///books/a.db"),
    ],
)
def test_the_databases_password_is_hidden_and_nothing_else_of_its_address(address: str, shown: str) -> None:
    settings = read_settings(None, {"FAREBOX_STORE__DATABASE": address}, KNOWN)
    assert settings.store.database == address
    for text in (show_settings(settings), repr(settings), str(settings)):
        assert shown in text
        assert "canary" not in text


def test_every_setting_says_where_it_came_from(settings: Settings, tmp_path: Path) -> None:
    shown = show_settings(settings)
    file = tmp_path / "farebox.toml"
    assert 'host = "127.0.0.1"  # default\n' in shown
    assert "port = 4000  # environment FAREBOX_SERVER__PORT\n" in shown
    assert f"drain_s = 2.5  # {file}:5\n" in shown
    assert f'markup = "1.2"  # {file}:8\n' in shown
    assert f'api_key = "***"  # {file}:13\n' in shown
    assert f"idle_timeout_s = 90  # {file}:19\n" in shown
    assert f"chat_rpm = 0  # {file}:30\n" in shown
    assert all("  # " in line for line in shown.splitlines() if line and not line.startswith("["))


def test_defaults_are_shown_too() -> None:
    shown = tomllib.loads(show_settings(read_settings(None, {}, KNOWN)))
    for section, struct in (("server", Server), ("store", Store), ("wallet", Wallet)):
        assert list(shown[section]) == list(struct.__struct_encode_fields__)
    assert shown["wallet"]["starter_credit"] == "10"


def documented() -> dict[str, dict[str, str]]:
    """Heading → key → default, from the tables of the page."""
    tables: dict[str, dict[str, str]] = {}
    heading = ""
    for line in DOCS.read_text("utf-8").splitlines():
        if match := re.match(r"#+ `(.*)`$", line):
            heading = match[1]
        elif match := re.match(r"\| `(\w+)` \| .* \| (`[^|]*`|\*none\*|\*required\*) \| .+ \|$", line):
            tables.setdefault(heading, {})[match[1]] = match[2]
    return tables


STRUCTS: dict[str, Any] = {
    "[server]": Server,
    "[store]": Store,
    "[wallet]": Wallet,
    "[[providers]]": Provider,
    "[[models]]": Model,
    "routes": Route,
    "[[plans]]": Plan,
    "[alerts]": Alerts,
    "[email]": Email,
    "[invoices]": Invoices,
    "[payments]": Payments,
    "stripe": StripeKeys,
    "razorpay": RazorpayKeys,
    "[[prices]]": DatedPrice,
    "[[fx]]": DatedRate,
}


def default_of(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "*required*"
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "*none*" if default is None else f"`{write_value(default, nano=field.name.endswith('_nano'))}`"


@pytest.mark.parametrize(("heading", "struct"), STRUCTS.items())
def test_the_page_of_settings_lists_every_key_with_its_default(heading: str, struct: Any) -> None:
    expected = {field.encode_name: default_of(field) for field in msgspec.structs.fields(struct)}
    assert documented()[heading] == expected


def test_the_page_has_a_table_for_every_part_of_a_file() -> None:
    assert set(documented()) == set(STRUCTS)
    parts = {heading.strip("[]") for heading in STRUCTS} - {"routes", "stripe", "razorpay"}
    assert parts == set(File.__struct_encode_fields__)


def test_the_example_of_the_page_can_be_used(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    path = tmp_path / "farebox.toml"
    path.write_text(example, "utf-8")
    settings = read_settings(path, {"OPENAI_API_KEY": "sk-canary"}, KNOWN)
    assert settings.models[0].cost is not None
    assert settings.plans[0].chat_rpm == 100_000
