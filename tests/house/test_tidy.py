"""The house rules hold in every file; and each rule is shown a sin, so that none of them is blind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.house import tidy

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sorted(
    path for tree in ("src/farebox", "tests", "bench") for path in ROOT.joinpath(tree).rglob("*.py")
)
SLASH = "/"  # Apart, so that what is planted below is not found in this very file.
LATER = "todo".upper()

# rule, path of the planted file, its text, what the sentence must tell
PLANTED = [
    ("long_files", "bench/a.py", "a = 1\n" * 501, "split the file by noun"),
    ("long_lines", "tests/a.py", f"a = '{'x' * 120}'\n", "break the line"),
    ("long_functions", "src/farebox/a.py", "def f():\n" + "    a = 1\n" * 70, "functions of their own"),
    ("long_functions", "tests/a.py", "async def f():\n" + "    a = 1\n" * 70, "functions of their own"),
    ("many_parameters", "src/farebox/a.py", "def f(a, b, c, d, e, f, g): ...\n", "7 positional"),
    ("many_parameters", "src/farebox/a.py", "def f(a, b, c, d, *, e, f, g, h, i): ...\n", "takes 9"),
    ("globals_used", "src/farebox/a.py", "def f():\n    global a\n", "an object that is passed on"),
    ("broad_excepts", "src/farebox/a.py", "try: ...\nexcept Exception: ...\n", "name what you can handle"),
    ("broad_excepts", "tests/a.py", "try: ...\nexcept: ...\n", "name what you can handle"),
    (
        "broad_excepts",
        "bench/a.py",
        "try: ...\nexcept (OSError, BaseException): ...\n",
        "name what you can handle",
    ),
    ("broad_excepts", "src/farebox/a.py", "with contextlib.suppress(Exception): ...\n", "may be ignored"),
    ("unfinished_words", "src/farebox/a.py", f"# {LATER}: the other half\n", "do it now"),
    ("bare_ignores", "src/farebox/a.py", "a = 1  # type: ignore\n", "a reason"),
    ("bare_ignores", "src/farebox/a.py", "a = 1  # type: ignore[misc]\n", "a reason"),
    ("bare_ignores", "tests/a.py", "a = 1  # noqa: E501\n", "a reason"),
    ("mocks_used", "tests/a.py", "from unittest.mock import patch\n", "stand-in"),
    ("mocks_used", "tests/a.py", "from unittest import mock\n", "stand-in"),
    ("test_classes", "tests/a.py", "class TestA: ...\n", "plain functions"),
    ("vague_names", "src/farebox/core/utils.py", "'''A.'''\n", "one noun"),
    ("vague_names", "tests/helpers/a.py", "a = 1\n", "one noun"),
    ("missing_docstring", "src/farebox/a.py", "a = 1\n", "what the module is for"),
    ("missing_docstring", "src/farebox/a/__init__.py", "", "what the module is for"),
    ("inner_imports", "src/farebox/a.py", "def f():\n    import b.c\n", "import of b.c"),
    ("inner_imports", "src/farebox/a.py", "def f():\n    if a:\n        from . import b\n", "to the top"),
    ("banned_names", "src/farebox/a.py", "import time\ntime.time()\n", "use Clock.now_us()"),
    ("banned_names", "src/farebox/a.py", "from time import time as now\nnow()\n", "use Clock.now_us()"),
    (
        "banned_names",
        "src/farebox/a.py",
        "from datetime import datetime\ndatetime.now()\n",
        "use Clock.now_us()",
    ),
    ("banned_names", "src/farebox/a.py", "import datetime as d\nd.datetime.now()\n", "use Clock.now_us()"),
    ("banned_names", "src/farebox/a.py", "import uuid\n", "use Ids.new()"),
    ("banned_names", "src/farebox/a.py", "from random import choice\n", "the call's id"),
    ("banned_names", "src/farebox/core/a.py", "import os\nos.environ['A']\n", "a field of Settings"),
    ("banned_names", "src/farebox/api/a.py", "print(1)\n", "text returned to cli"),
    ("banned_names", "src/farebox/api/a.py", "import json\n", "msgspec.json"),
    ("money_floats", "src/farebox/ledger/a.py", "a = 0.5\n", "nano-units"),
    ("money_floats", "src/farebox/billing/a.py", "a = float(b)\n", "parse_nano()"),
    ("money_floats", "src/farebox/billing/a.py", "rate = 0.5\n", "nano-units"),
    ("money_floats", "src/farebox/core/money.py", "a = b / 2\n", "ceil_div()"),
    ("provider_names", "src/farebox/gateway/a.py", "if p == 'openai': ...\n", "the provider's row"),
    (
        "provider_names",
        "src/farebox/gateway/a.py",
        "if p not in ('x', 'gemini'): ...\n",
        "the provider's row",
    ),
    ("provider_names", "src/farebox/api/a.py", "a = m.startswith('anthropic/')\n", "the provider's row"),
    ("provider_names", "src/farebox/api/a.py", "match p:\n    case 'Groq': ...\n", "the provider's row"),
]

INNOCENT = [
    ("many_parameters", "src/farebox/a.py", "def f(self, a, b, c, d, e, f, *, g, h): ...\n"),
    ("broad_excepts", "src/farebox/store/writer.py", "try: ...\nexcept Exception: ...\n"),
    ("broad_excepts", "src/farebox/a.py", "try: ...\nexcept BaseException:\n    a()\n    raise\n"),
    ("bare_ignores", "src/farebox/a.py", "a = 1  # type: ignore[misc]  # the library is untyped here\n"),
    ("bare_ignores", "src/farebox/a.py", "a = 1  # noqa: N818 -- the glossary's word\n"),
    ("banned_names", "src/farebox/core/clock.py", "import time\ntime.time_ns()\n"),
    ("banned_names", "src/farebox/config/file.py", "import os\nos.environ['A']\n"),
    ("banned_names", "src/farebox/cli/main.py", "print(1)\n"),
    ("banned_names", "src/farebox/a.py", "import time\ntime.sleep(1)\nrandom = 1\n"),
    ("inner_imports", "src/farebox/a.py", "if a:\n    import b\n"),
    ("money_floats", "src/farebox/gateway/a.py", "a = 0.5 / 2\n"),
    ("money_floats", "src/farebox/ledger/a.py", "RETRY_S = 0.5\nwait_s = 2.0\n"),
    ("money_floats", "src/farebox/ledger/a.py", "a = folder / 'lock' / f'{b}.lock'\n"),
    ("provider_names", "src/farebox/providers/a.py", "if p == 'openai': ...\n"),
    ("provider_names", "src/farebox/gateway/a.py", "a = {'openai': 1}['openai']\n"),
]


def tracked() -> list[Path]:
    """The files that are or would be part of the repository; every file of an export that has no history."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0 and listing.stdout:
        return [
            path for name in sorted(set(listing.stdout.split("\0")) - {""}) if (path := ROOT / name).is_file()
        ]
    return [
        path for path in sorted(ROOT.rglob("*")) if path.is_file() and not {".venv", ".git"} & set(path.parts)
    ]


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_keeps_the_house_rules(path: Path) -> None:
    broken = tidy.sins(tidy.parse(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")))
    assert not broken, "\n".join(["the house rules are broken:", *broken])


def test_no_text_names_a_machine_or_a_registry() -> None:
    broken: list[str] = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data:
            broken += tidy.places(path.relative_to(ROOT).as_posix(), data.decode("utf-8"))
    assert not broken, "\n".join(["addresses that hold on one machine alone:", *broken])


@pytest.mark.parametrize(("rule", "path", "text", "told"), PLANTED)
def test_a_planted_sin_is_named_with_what_to_write_instead(
    rule: str, path: str, text: str, told: str
) -> None:
    source = tidy.parse(path, text)
    (sentence,) = {sentence for _, sentence in getattr(tidy, rule)(source)}
    assert told in sentence
    assert any(sentence in sin for sin in tidy.sins(source)), f"{rule} is not applied to {path}"


@pytest.mark.parametrize(("rule", "path", "text"), INNOCENT)
def test_what_is_allowed_is_not_called_a_sin(rule: str, path: str, text: str) -> None:
    assert list(getattr(tidy, rule)(tidy.parse(path, text))) == []


def test_every_rule_has_been_shown_a_sin() -> None:
    assert {rule.__name__ for rule in tidy.RULES} == {rule for rule, *_ in PLANTED}


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("docs/a.md", f"run it in {SLASH}work/main", "a relative path"),
        ("Makefile", f"cd {SLASH}home/someone/farebox", "a relative path"),
        ("docs/a.md", f"from https:{SLASH}{SLASH}pypi{'.'}org/simple", "the installer's own settings"),
        ("requirements/serve.txt", f"farebox @ https:{SLASH}{SLASH}mirror.example/f.whl", "hashes alone"),
        ("requirements/serve.txt", f"--index-url http:{SLASH}{SLASH}mirror.example", "hashes alone"),
        ("console/package-lock.json", '{"resolved": "x"}', "without `resolved`"),
        ("tests/node/package-lock.json", '{"funding": {"url": "x"}}', "donations"),
    ],
)
def test_a_planted_address_is_named(path: str, text: str, told: str) -> None:
    assert any(told in sin for sin in tidy.places(path, text))


def test_ordinary_addresses_may_stand() -> None:
    assert (
        tidy.places(
            "README.md", f"https:{SLASH}{SLASH}a.example{SLASH}work/x and .{SLASH}work/a and /var/lib/farebox"
        )
        == []
    )


def test_every_listed_inner_import_still_stands_and_has_its_reason() -> None:
    for (path, module), reason in tidy.INNER_IMPORTS.items():
        assert module in ROOT.joinpath(path).read_text("utf-8"), (
            f"{path} no longer imports {module}: take it off the list"
        )
        assert len(reason) > 20, f"say why {path} imports {module} inside a function"
