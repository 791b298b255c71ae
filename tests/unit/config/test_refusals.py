"""Settings that cannot be used are refused with the line, the key path and what to write instead."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from farebox.config.origin import ConfigError
from farebox.config.read import read_settings
from farebox.config.settings import Known
from farebox.core.rates import read_rates

KNOWN = Known(
    dialects=frozenset({"openai_chat", "anthropic"}),
    profiles=frozenset({"standard", "openserv"}),
    plans=frozenset({"free", "standard"}),
)
# What a case adds a line to: three lines, and five.
PROVIDER = '[[providers]]\nname = "p"\nbase_url = "http://127.0.0.1:1/v1"\n'
MODEL = PROVIDER + '[[models]]\nid = "m"\n'


def refused(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> ConfigError:
    path = tmp_path / "farebox.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_settings(path, environment or {}, KNOWN)
    return caught.value


def of_rates(member: str = "", **rates: object) -> str:
    """What core says of rates that cannot be read, without the member that it names first."""
    with pytest.raises(ValueError) as caught:
        read_rates("USD", **rates)
    named, _, reason = str(caught.value).partition(": ")
    assert named == (member or next(iter(rates)))
    return reason


CURRENCY = "is not a currency code: write three capital letters, such as INR"
ZONE = "is not a time zone: write one such as Asia/Kolkata"
EUR_IN_USD = 'say what one EUR is in USD: [wallet] fx = { EUR = "…" }'
ROUTE = MODEL + "[[models.routes]]\nprovider = 'p'\nmodel = 'x'\n"
COST = MODEL + "[models.cost]\ncurrency = 'USD'\n"
NETWORK = "is not an IP address or network such as 10.0.0.0/8"
SQLITE = "write sqlite:///PATH; an absolute path makes four slashes"
HEADER = "is not a header that may be set"

# text, line, key path, message
STRUCTURE = [
    ("[server]\n\nprot = 1", 3, "server.prot", 'no such setting (did you mean "port"?)'),
    ("\n[servr]\nport = 1", 2, "servr", 'no such setting (did you mean "server"?)'),
    ("[server]\nzzz = 1", 2, "server.zzz", "no such setting"),
    ('[server]\n"a.b" = 1', 2, "server.'a.b'", "no such setting"),
    ("[server.tls]\ncert = 1", 1, "server.tls", "no such setting"),
    ('[source]\n"server.port" = "x"', 1, "source", 'no such setting (did you mean "store"?)'),
    (
        "[wallet]\nstarter_credit_nano = 1",
        2,
        "wallet.starter_credit_nano",
        'no such setting (did you mean "starter_credit"?)',
    ),
    ('[server]\nport = "3273"', 2, "server.port", "expected a whole number, got text"),
    ("[server]\nport = 3273.0", 2, "server.port", "expected a whole number, got a number"),
    ("[server]\nport = 65536", 2, "server.port", "must be at most 65535"),
    ("[server]\nport = -1", 2, "server.port", "must be at least 0"),
    ("[server]\nhost = 127", 2, "server.host", "expected text in quotes, got a whole number"),
    ('[server]\nhost = ""', 2, "server.host", "must not be empty"),
    ("[server]\ntrusted_proxies = [\n'::1',\n'moon']", 4, "server.trusted_proxies[1]", f"'moon' {NETWORK}"),
    ("[server]\ntrusted_proxies = '::1'", 2, "server.trusted_proxies", "expected a list, got text"),
    ("[server]\nrate_limit_reset = 'iso'", 2, "server.rate_limit_reset", 'write one of "epoch", "duration"'),
    ("[server]\ndrain_s = 1979-05-27", 2, "server.drain_s", "expected a number, got a date"),
    ("server = 1", 1, "server", "expected a table, got a whole number"),
    ("[providers]\nname = 'p'", 1, "providers", "expected a list, got a table"),
    ("[store]\ndurability = 'disk'", 2, "store.durability", 'write one of "process", "power-loss"'),
    ("[[providers]]\n\nname = 'p'", 1, "providers[0].base_url", "is required"),
    (PROVIDER + "[[providers]]\nbase_url = 'http://a'", 4, "providers[1].name", "is required"),
    (PROVIDER + "quirks = 'a'", 4, "providers[0].quirks", "expected a list, got text"),
    (PROVIDER + "connect_timeout_s = 0", 4, "providers[0].connect_timeout_s", "must be more than 0"),
    (PROVIDER + "idle_timeout_s = nan", 4, "providers[0].idle_timeout_s", "must be more than 0"),
    (
        MODEL + "kind = 'video'",
        6,
        "models[0].kind",
        'write one of "chat", "image", "speech", "transcription", "embedding"',
    ),
    (MODEL + "routes = [{ provider = 'p' }]", 6, "models[0].routes[0].model", "is required"),
    (
        MODEL + "routes = [\n{ provider = 'p', model = 'x' },\n{ provider = 'p', model = 'x', wieght = 1 }]",
        8,
        "models[0].routes[1].wieght",
        'no such setting (did you mean "weight"?)',
    ),
    (
        MODEL + "routes = [{ provider = 'p', model = 'x', weight = 0 }]",
        6,
        "models[0].routes[0].weight",
        "must be at least 1",
    ),
    ("[[plans]]\nname = 'free'\nchat_rpm = -1", 3, "plans[0].chat_rpm", "must be at least 0"),
    ("[[plans]]\nname = 'free'\nmodels = ['a', '']", 3, "plans[0].models[1]", "must not be empty"),
]

QUOTES = 'write amounts in quotes, such as "0.15": a bare number would not stay exact'
NOT_AN_AMOUNT = "is not an amount: write digits with at most nine decimals, such as 41.25"
MONEY = [
    (
        COST + "[models.cost.image]\nbig = 0.5",
        8,
        "models[0].cost.image",
        "image.big: " + of_rates("image.big", image={"big": 0.5}),
    ),
    (
        COST + "tiers = [{ input = '1' }]",
        8,
        "models[0].cost.tiers",
        "tiers[0].above_input_tokens: " + of_rates("tiers[0].above_input_tokens", tiers=[{"input": "1"}]),
    ),
    (COST + "inptu = '1'", 8, "models[0].cost.inptu", of_rates(inptu="1")),
    ("[wallet]\nstarter_credit = 10", 2, "wallet.starter_credit", QUOTES),
    ("[wallet]\nstarter_credit = 0.1", 2, "wallet.starter_credit", QUOTES),
    ("[wallet]\nmarkup = 1.2", 2, "wallet.markup", QUOTES),
    ("[wallet]\nmarkup = '0.0'", 2, "wallet.markup", "must be more than 0"),
    ("[wallet]\nmarkup = '-1'", 2, "wallet.markup", "must not be negative"),
    ("[wallet]\nmarkup = '1,20'", 2, "wallet.markup", f"'1,20' {NOT_AN_AMOUNT}"),
    ("[wallet]\nmarkup = '1.0000000001'", 2, "wallet.markup", f"'1.0000000001' {NOT_AN_AMOUNT}"),
    ("[wallet]\n\nfx = { EUR = '1', USD = 88.0 }", 3, "wallet.fx.USD", QUOTES),
    ("[wallet.fx]\nEUR = '1'\nINR = '0'", 3, "wallet.fx.INR", "must be more than 0"),
    ("[wallet.fx]\neuro = '1'", 2, "wallet.fx.euro", f"'euro' {CURRENCY}"),
    ("[wallet.fx]\nUSD = '1'", 2, "wallet.fx.USD", "the wallet's own currency needs no rate"),
    ("[wallet]\ncurrency = 'rupee'", 2, "wallet.currency", f"'rupee' {CURRENCY}"),
    ("[wallet]\ntime_zone = 'Asia/Nowhere'", 2, "wallet.time_zone", f"'Asia/Nowhere' {ZONE}"),
    ("[wallet]\ntime_zone = 'Asia'", 2, "wallet.time_zone", f"'Asia' {ZONE}"),
    ("[wallet]\ntime_zone = '../x'", 2, "wallet.time_zone", f"'../x' {ZONE}"),
    (MODEL + "cost = '0.15'", 6, "models[0].cost", "expected a table, got text"),
    (MODEL + "cost = { input = '0.15' }", 6, "models[0].cost.currency", 'is required, such as "USD"'),
    (MODEL + "cost = { currency = 'usd' }", 6, "models[0].cost.currency", f"'usd' {CURRENCY}"),
    (
        MODEL + "cost = { currency = 'USD' }",
        6,
        "models[0].cost",
        "gives no rate: write at least one, such as input and output",
    ),
    (COST + "input = '1'\noutput = 0.6", 9, "models[0].cost.output", of_rates(output=0.6)),
    (COST + "input = 1", 8, "models[0].cost.input", of_rates(input=1)),
    (COST + "input = '-1'", 8, "models[0].cost.input", of_rates(input="-1")),
    (MODEL + "cost = { currency = 'EUR', input = '1' }", 6, "models[0].cost.currency", EUR_IN_USD),
    (
        MODEL + "price = { currency = 'INR', input = '1' }",
        6,
        "models[0].price.currency",
        "prices are in the wallet's currency, USD",
    ),
    (ROUTE + "cost = { currency = 'EUR', input = '1' }", 9, "models[0].routes[0].cost.currency", EUR_IN_USD),
    (
        ROUTE + "cost = { currency = 'USD', input = 1 }",
        9,
        "models[0].routes[0].cost.input",
        of_rates(input=1),
    ),
    ("[[plans]]\nname = 'free'\nmarkup = 1.5", 3, "plans[0].markup", QUOTES),
]

NAMES = [
    (
        "[server.hosts]\n'a.example' = 'openserve'",
        2,
        "server.hosts.'a.example'",
        "'openserve': no such profile (did you mean \"openserv\"?)",
    ),
    (
        "[server]\nhosts = { 'A.example:80' = 'openserv' }",
        2,
        "server.hosts.'A.example:80'",
        "write a host name in small letters, without port or scheme",
    ),
    ("[server]\nhosts = { 'a.example' = 1 }", 2, "server.hosts.'a.example'", "expected text in quotes"),
    (
        "[server]\nbase_url = 'ai.example'",
        2,
        "server.base_url",
        "write an address such as https://api.example.com/v1",
    ),
    (
        PROVIDER + "dialect = 'openai_chats'",
        4,
        "providers[0].dialect",
        "'openai_chats': no such dialect (did you mean \"openai_chat\"?)",
    ),
    (PROVIDER + "quirks = ['odd']", 4, "providers[0].quirks[0]", "'odd': no such quirk"),
    (PROVIDER + PROVIDER, 5, "providers[1].name", "'p' is here a second time"),
    (
        "[[providers]]\nbase_url = 'http://a'\nname = 'Open AI'",
        3,
        "providers[0].name",
        "'Open AI' is not a name: write small letters, digits, dots and hyphens",
    ),
    (
        PROVIDER + "headers = { 'Content-Length' = '1' }",
        4,
        "providers[0].headers.Content-Length",
        f"'Content-Length' {HEADER}",
    ),
    (PROVIDER + "headers = { 'a b' = '1' }", 4, "providers[0].headers.'a b'", f"'a b' {HEADER}"),
    (PROVIDER + "auth_header = 'Host'", 4, "providers[0].auth_header", f"'Host' {HEADER}"),
    (
        "[[models]]\nid = 'a b'",
        2,
        "models[0].id",
        "'a b' is not a model id: write up to 200 letters, digits and signs, no spaces",
    ),
    (MODEL + "aliases = ['n', 'm']", 6, "models[0].aliases[1]", "'m' names a model already"),
    (MODEL + "[[models]]\nid = 'm'", 7, "models[1].id", "'m' names a model already"),
    (
        MODEL + "routes = [{ provider = 'q', model = 'x' }]",
        6,
        "models[0].routes[0].provider",
        "'q': no such provider",
    ),
    (
        "[[plans]]\nchat_rpm = 1\nname = 'fre'",
        3,
        "plans[0].name",
        'no such built-in plan (did you mean "free"?); a plan of your own needs chat_rpm and image_rpm',
    ),
    (
        "[[plans]]\nname = 'free'\n[[plans]]\nname = 'free'",
        4,
        "plans[1].name",
        "'free' is here a second time",
    ),
    ("[store]\ndatabase = 'mysql://x'", 2, "store.database", SQLITE),
    ("[store]\ndatabase = 'sqlite:///'", 2, "store.database", SQLITE),
    (
        "[store]\ndatabase = 'sqlite:///:memory:'",
        2,
        "store.database",
        "books in memory would be lost with the process: write sqlite:///PATH",
    ),
    (
        "[store]\ndatabase = 'postgres://db'",
        2,
        "store.database",
        "write postgresql://USER:PASSWORD@HOST:PORT/NAME; in a password / is %2F, @ %40, ? %3F and # %23",
    ),
    ("[store]\nredis = 'redis://h'", 2, "store.redis", "Redis is not supported yet by this version"),
]


@pytest.mark.parametrize(("text", "line", "path", "message"), STRUCTURE + MONEY + NAMES)
def test_a_setting_that_cannot_be_used_is_told_by_line_path_and_reason(
    tmp_path: Path, text: str, line: int, path: str, message: str
) -> None:
    error = refused(tmp_path, text)
    assert str(error) == f"{tmp_path / 'farebox.toml'}:{line}: {path}: {message}"
    assert (error.path, error.line) == (path, line)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[server]\nport = \n", 2),
        ("a = 1\na = 2", 2),
        ('[server]\nhost = "', 2),
        ("[server\n", 1),
        ("a = 1\nb", 2),
    ],
)
def test_what_is_no_toml_is_told_by_its_line(tmp_path: Path, text: str, line: int) -> None:
    error = refused(tmp_path, text)
    assert error.line == line
    assert "(at " not in str(error)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    with pytest.raises(ConfigError, match="^" + re.escape(str(missing)) + ": No such file or directory$"):
        read_settings(missing, {}, KNOWN)
    with pytest.raises(ConfigError, match="Is a directory"):
        read_settings(tmp_path, {}, KNOWN)
    missing.write_bytes(b"[server]\nhost = '\xff'")
    with pytest.raises(ConfigError, match=r":2: is not text in UTF-8$"):
        read_settings(missing, {}, KNOWN)


def test_a_new_plan_is_welcome_with_its_limits(tmp_path: Path) -> None:
    path = tmp_path / "farebox.toml"
    path.write_text("[[plans]]\nname = 'gold'\nchat_rpm = 1\nimage_rpm = 0")
    assert read_settings(path, {}, KNOWN).plans[0].name == "gold"


@pytest.mark.parametrize(
    ("key", "environment", "message"),
    [
        ("$KEY_OF_P", {}, "provider p: the environment variable KEY_OF_P is not set"),
        ("$KEY_OF_P", {"KEY_OF_P": " "}, "provider p: the environment variable KEY_OF_P is not set"),
        (
            "$KEY_OF_P",
            {"KEY_OF_P": "a\nb"},
            "provider p: the environment variable KEY_OF_P holds characters that cannot be sent in a header",
        ),
        (
            "$KEY-OF-P",
            {},
            "provider p: write $NAME to name an environment variable: letters, digits and underscores",
        ),
    ],
)
@pytest.mark.parametrize("member", ["api_key", "headers.x"])
def test_a_key_that_is_not_in_the_environment_names_provider_and_variable(
    tmp_path: Path, member: str, key: str, environment: dict[str, str], message: str
) -> None:
    error = refused(tmp_path, f"{PROVIDER}{member} = '{key}'", environment)
    assert str(error).endswith(f"farebox.toml:4: providers[0].{member}: {message}")


URLS = [
    "https://user:canary@api.example/v1",
    "https://user:canary@[api.example/v1",
    "https://canary@api.example",
    "https://api.example/v1?key=canary",
    "https://api.example/v1#canary",
    "https://api.example/\tcanary",
    "https://api.example:canary/v1",
    "ftp://canary.example",
    "https:///canary",
    "canary",
]


@pytest.mark.parametrize("url", URLS)
def test_an_address_that_may_hold_a_secret_is_refused_without_it(tmp_path: Path, url: str) -> None:
    error = refused(tmp_path, f'[[providers]]\nname = "p"\nbase_url = {url!r}'.replace("'", '"'))
    assert error.path == "providers[0].base_url"
    assert error.line == 3
    assert "canary" not in str(error)
    assert "canary" not in repr(error)


@pytest.mark.parametrize(
    "line",
    [
        'api_key = ["sk-canary"]',
        'api_key = "sk-canary\\u0000"',
        'headers = "sk-canary"',
        'headers = { a = ["sk-canary"] }',
        'headers = { a = "sk-canary\\n" , b = "sk-canary\\u20ac" }',
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_without_it(tmp_path: Path, line: str) -> None:
    assert "canary" not in str(refused(tmp_path, f"{PROVIDER}{line}"))


# Lines of a whole file after which a key of the table may stand: (lines before, path of the table).
WHOLE = f"""\
[server]
host = "127.0.0.1"
hosts = {{ "a.example" = "openserv" }}
[store]
[wallet]
time_zone = \"UTC\"
{PROVIDER}
[[providers]]
name = "q"
base_url = "http://127.0.0.1:2/v1"
[[models]]
id = "m"
[[models.routes]]
provider = "q"
model = "x"
[[plans]]
name = "free"
""".splitlines()
PLACES = [
    (1, "server"), (3, "server"), (4, "store"), (6, "wallet"), (9, "providers[0]"), (10, "providers[0]"),
    (12, "providers[1]"), (14, "models[0]"), (15, "models[0]"), (16, "models[0].routes[0]"),
    (18, "models[0].routes[0]"), (19, "plans[0]"), (20, "plans[0]"),
]  # fmt: skip
# Beyond any real member's length, so that no generated key is one.
LONG = 40


@profile(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(PLACES),
    st.text(st.characters(codec="utf-8"), max_size=6).map(lambda text: text + "x" * LONG),
    st.sampled_from(["1", '"text"', "[1,\n 2]", "{ a = 1 }", "0.5", '"""\n[server]\n"""']),
    st.integers(0, 3),
)
def test_an_unknown_key_anywhere_is_refused_with_its_line(
    tmp_path: Path, place: tuple[int, str], key: str, value: str, blank_lines: int
) -> None:
    after, table = place
    escaped = "".join(f"\\U{ord(sign):08x}" for sign in key)
    lines = [*WHOLE[:after], *[""] * blank_lines, f'"{escaped}" = {value}', *WHOLE[after:]]
    text = "\n".join(lines)
    assert tomllib.loads(text)
    error = refused(tmp_path, text)
    assert error.line == after + blank_lines + 1
    assert error.path.startswith(f"{table}.")
    assert str(error).endswith(": no such setting")
    assert "\n" not in str(error)


def test_the_whole_file_without_an_unknown_key_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "farebox.toml"
    path.write_text("\n".join(WHOLE))
    assert len(read_settings(path, {}, KNOWN).providers) == 2
