"""Nothing of the product is missing from its documentation: surfaces, faults, headers, commands, words, parts."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import cast

import pytest

from farebox.api.account import AccountSurfaces
from farebox.api.health import Health
from farebox.api.metrics import Metrics
from farebox.api.observe import Line
from farebox.api.once import Once
from farebox.api.setup import Setup
from farebox.api.topups import TopupSurfaces
from farebox.api.wallet_history import WalletHistory
from farebox.api.webhooks import Webhooks
from farebox.app.surfaces import paying_surfaces, surfaces, wallet_surfaces
from farebox.billing.receipts import Receipts
from farebox.cli.main import build_app
from farebox.config.environment import section_keys, variable_for
from farebox.config.settings import Plan, Provider, Server, Store, Wallet
from farebox.core.errors import Kind
from farebox.core.usage import TOKEN_CLASSES
from farebox.dialects.openai_chat.head import REFUSED
from farebox.dialects.own import UNSERVED
from farebox.features.stored_responses.feature import StoredResponses
from farebox.gateway.house import House
from farebox.gateway.profiles import BASES, PROFILES
from farebox.ledger.rules import TransferKind
from farebox.providers.sandbox.tricks import TRICKS
from tests.docs.pages import ROOT, headings, page, pages, table

SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in sorted((ROOT / "src" / "farebox").rglob("*.py"))
}
GLOSSARY = [
    *(
        "call",
        "surface",
        "dialect",
        "provider",
        "endpoint",
        "route",
        "key",
        "account",
        "plan",
        "wallet",
        "hold",
    ),
    *("charge", "cost", "price", "fault", "usage", "feature", "quirk", "prompt, turn, part, reply", "event"),
]


def every_surface() -> set[tuple[str, str]]:
    """Method and path of each surface, bases of profiles cut to `…`."""
    # The table names handlers, and here nobody calls them: no part needs to be real.
    house = cast("House", None)
    rows = surfaces(
        house,
        AccountSurfaces(house, cast("Receipts", None)),
        Health({}),
        cast("Metrics", _Named()),
        cast("Setup", _Named()),
        stored=cast("StoredResponses", None),
        once=cast("Once", None),
        max_in_flight=1,
    )
    rows += wallet_surfaces(cast("WalletHistory", _Named()))
    rows += paying_surfaces(cast("TopupSurfaces", _Named()), cast("Webhooks", _Named()))
    found = set()
    for row in rows:
        bases = [
            base for base, profile in BASES.items() if profile is row.profile and row.path.startswith(base)
        ]
        base = max(bases, key=len, default="")
        path = f"…{row.path.removeprefix(base)}" if base else row.path
        found.add((row.method, f"{path}{{id}}" if path.endswith("/") else path))
    return found


class _Named:
    """Has every handler one may ask for."""

    def __getattr__(self, name: str) -> str:
        return name


def test_every_surface_has_its_section_and_every_section_its_surface() -> None:
    sections = {
        (match[1], match[2])
        for heading in headings(page("docs/api.md"))
        if (match := re.fullmatch(r"`(GET|POST|DELETE) (\S+)`", heading))
    }
    assert sections == every_surface()


def test_every_profile_and_base_path_is_on_the_page_of_the_api() -> None:
    text = page("docs/api.md")
    for name in (*PROFILES, *BASES):
        assert f"`{name}`" in text


def test_the_table_of_faults_is_the_products() -> None:
    told = {row[0].strip("`"): row[1:5] for row in table(page("docs/api.md"), "Kinds of fault")}
    assert set(told) == {kind.name for kind in Kind}
    for kind in Kind:
        status, type_, code, retry = told[kind.name]
        row = kind.row
        assert (status, type_, code) == (str(row.status), f"`{row.type}`", f"`{row.code}`"), kind.name
        assert retry.split(",")[0] == ("yes" if row.retry else "no"), kind.name


def test_every_code_of_its_own_is_told() -> None:
    codes = {code for text in SOURCES.values() for code in re.findall(r"\bcode=\"([a-z_]+)\"", text)}
    sandboxed = {"unknown_url"}  # The sandbox's word to us, not ours to a caller.
    assert len(codes) > 5
    told = page("docs/api.md") + page("docs/admin-api.md")
    missing = [code for code in codes - sandboxed if f"`{code}`" not in told]
    assert not missing


def test_every_header_that_is_written_is_told() -> None:
    text = page("docs/api.md")
    written = {
        name.decode()
        for path, source in SOURCES.items()
        if path.startswith(("src/farebox/api/", "src/farebox/gateway/"))
        for name in re.findall(rb"(?:\bb\"|\\n|%b)([a-z]+(?:-[a-z]+)*): ", source.encode())
    }
    pages_own = {
        "x-content-type-options",
        "x-frame-options",
    }  # Of the one page in HTML; every browser's business.
    pages_own |= {"referrer-policy", "content-security-policy"}
    pages_own |= {
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "date",
        "cache-control",
    }
    assert {"x-request-id", "x-sandbox", "x-farebox-dropped", "retry-after"} <= written
    assert not [name for name in written - pages_own if f"`{name}`" not in text]


def test_every_verb_of_the_command_line_has_its_heading() -> None:
    found = headings(page("docs/cli.md"))
    app = build_app()
    verbs = [verb for group in app if (verb := _verb(group)) is not None]
    assert len(verbs) > 5
    for verb in verbs:
        assert f"farebox {verb}" in found
        commands = [name for name in app[verb] if not name.startswith("-")]
        for name in commands:
            assert f"farebox {verb} {name}" in found


def _verb(name: str) -> str | None:
    return None if name.startswith("-") else name


def test_every_argument_and_option_says_what_it_is() -> None:
    bare = re.findall(r"^\* `([^`]+)`:(?: \*\*\[required\]\*\*)?$", page("docs/cli.md"), re.MULTILINE)
    assert not bare, "give it a Parameter(help=…)"


def test_refused_members_tricks_and_dropped_members_are_told() -> None:
    api, operating = page("docs/api.md"), page("docs/operating.md")
    assert not [name for name in (*REFUSED, *UNSERVED) if f"`{name}`" not in api]
    assert not [name for name in TRICKS if f"`sandbox:{name}`" not in operating]


def test_every_variable_that_is_read_is_told() -> None:
    settings = {variable_for(*path) for path in section_keys()}
    named = {name for text in SOURCES.values() for name in re.findall(r"\"(FAREBOX_[A-Z_]+[A-Z])\"", text)}
    assert {"FAREBOX_SECRET", "FAREBOX_ADMIN_LINK"} <= named
    text = "".join(pages().values())
    assert not [name for name in named - settings if name not in text]
    assert "FAREBOX_SECTION__KEY" in text


def test_settings_without_effect_are_told_and_no_others() -> None:
    told = set(re.findall(r"`(\w+)`", page("docs/settings.md").partition("## Not in effect yet")[2]))
    # Where settings are only handed on, into the structs that might act on them, or shown.
    handed_on = (
        "src/farebox/config/",
        "src/farebox/app/office.py",
        "src/farebox/app/stock.py",
        "src/farebox/api/admin/plans.py",
    )
    acting = "".join(text for path, text in SOURCES.items() if not path.startswith(handed_on))
    for name in told - {"redis"}:
        assert not re.search(rf"\.{name}\b", acting), f"{name} has an effect now: take it off the list"
    for struct in (Server, Store, Wallet, Provider, Plan):
        for name in set(struct.__struct_fields__) - told:
            assert re.search(
                rf"\.{name}\b",
                acting + SOURCES["src/farebox/app/stock.py"] + SOURCES["src/farebox/app/office.py"],
            ), name


def test_classes_of_tokens_kinds_of_transfer_and_members_of_the_log_are_told() -> None:
    policy, operating = page("docs/charge-policy.md"), page("docs/operating.md")
    assert not [name for name in TOKEN_CLASSES if f"`{name}`" not in policy]
    assert not [kind.value for kind in TransferKind if f"`{kind.value}`" not in operating]
    assert not [name for name in Line.__struct_fields__ if f"`{name}`" not in operating]


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {re.split(r"[<>=]", name)[0] for name in project["dependencies"]}
    for extra, names in project["optional-dependencies"].items():
        assert f"`{extra}`" in page("docs/decisions/0010-run-time-dependencies.md")
        needed |= {re.split(r"[<>=]", name)[0] for name in names}
    reasons = table(page("docs/decisions/0010-run-time-dependencies.md"), "Decision")
    assert {row[0].strip("`") for row in reasons} == needed
    assert all(len(row[2]) > 20 for row in reasons)


def test_the_layers_on_the_page_are_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    text = page("docs/architecture.md")
    (block,) = re.findall(r"```text layers\n(.*?)```", text, re.DOTALL)
    assert block.splitlines() == contracts[0]["layers"]
    packages = {path.parent.name for path in (ROOT / "src" / "farebox").glob("*/__init__.py")}
    assert {row[0].strip("`") for row in table(text, "The layers")} == packages


def test_every_step_of_a_call_names_what_exists() -> None:
    rows = table(page("docs/architecture.md"), "The eight steps of a call")
    assert [row[0].split()[0] for row in rows] == [str(number) for number in range(1, 9)]
    named = [row[1].strip("`") for row in rows if ":" in row[1]]
    assert len(named) == 7
    for name in named:
        module, _, function = name.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), name


def test_the_glossary_has_the_words_of_the_house() -> None:
    words = {row[0].strip("*") for row in table(page("docs/glossary.md"), "Glossary")}
    assert not [word for word in GLOSSARY if word not in words]
    assert len(words) > len(GLOSSARY)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "decisions").glob("0*.md")), ids=lambda path: path.stem
)
def test_a_decision_says_its_context_and_both_kinds_of_consequences(path: Path) -> None:
    text = path.read_text("utf-8")
    number = path.name[:4]
    assert headings(text) == [headings(text)[0], "Context", "Decision", "Consequences"]
    assert headings(text)[0].startswith(f"{number} ")
    assert "- Good: " in text
    assert "- Bad: " in text
    title = headings(text)[0].removeprefix(f"{number} ")
    assert f"[{number}]({path.name}) | {title} |" in page("docs/decisions/README.md")


def test_members_of_what_the_command_line_exports_are_shown() -> None:
    for module, at in (("wallet", '"id": entry.id'), ("requests", '"model": row.model')):
        source = SOURCES[f"src/farebox/cli/{module}.py"]
        members = re.findall(
            r"^        \"(\w+)\": ", source[source.index(at.split(":", maxsplit=1)[0]) - 20 :], re.MULTILINE
        )
        assert len(members) > 8
        shown = page("docs/cli.md")
        assert not [name for name in members if f'"{name}":' not in shown], module


def test_the_changes_name_this_release() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert any(heading.startswith(project["version"]) for heading in headings(page("CHANGELOG.md")))
