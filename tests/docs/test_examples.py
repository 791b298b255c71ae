"""The examples run: each page's commands and programs, in order, against a real `farebox up`, with the answers shown.

A block tagged `run` is run; an `output` block after it is what it printed. What differs every time (ids, keys, times,
durations, the port) is masked on both sides, and a line that is only `…` stands for any lines.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from farebox.app.stock import Found, take_stock
from farebox.app.welcome import Welcome
from farebox.config.settings import Settings, Wallet
from farebox.core.money import NANO
from tests.docs.pages import Block, all_blocks, blocks, page, pages
from tests.support.process import clean_environment, up

HERE = "http://127.0.0.1:3273"
RUN_S = 60
SEAM = "----- the next block -----"
RUNNABLE = [
    name for name, text in pages().items() if any("run" in block.tags for block in blocks(name, text))
]
MASKS = (
    (r"https?://127\.0\.0\.1:\d+", HERE),
    (r"sk-(?:[0-9a-f]{64}|…)", "KEY"),
    (r"sk-[0-9a-f]{4}…[0-9a-f]{4}", "HINT"),
    (r"(?<![0-9A-Za-z])[0-7][0-9A-HJKMNP-TV-Z]{25}(?![0-9A-Za-z])", "ULID"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"(\"created(?:_at)?\": ?)\d{10}", r"\1EPOCH"),
    (r"(\"latency_ms\": ?)\d+", r"\1MS"),
    (r"token=\S+", "TOKEN"),
)
# A machine without curl still runs every example: as much of it as they use, in Python.
CURL = """
import sys, urllib.error, urllib.request
url, headers, data, target = "", {"Content-Type": "application/x-www-form-urlencoded"}, None, None
words = iter(sys.argv[1:])
for word in words:
    if word == "-H":
        name, _, value = next(words).partition(": ")
        headers[name] = value
    elif word == "-d":
        data = next(words).encode()
    elif word == "-o":
        target = next(words)
    elif not word.startswith("-"):
        url = word
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, data, headers))
except urllib.error.HTTPError as error:
    answer = error
(open(target, "wb") if target else sys.stdout.buffer).write(answer.read())
"""


def masked(text: str) -> str:
    for pattern, mask in MASKS:
        text = re.sub(pattern, mask, text)
    return text


def compact(text: str) -> str:
    """JSON without the blanks that a page may lay it out with; digits stay as they were written."""
    return re.sub(r"(\"(?:[^\"\\]|\\.)*\")|\s+", lambda match: match[1] or "", text)


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in masked(text).strip().splitlines()]


def matches(shown: list[str], printed: list[str]) -> bool:
    """Whether what was printed is what is shown, `…` standing for any lines."""
    if not shown:
        return not printed
    if shown[0] == "…":
        return any(matches(shown[1:], printed[at:]) for at in range(len(printed) + 1))
    return bool(printed) and shown[0] == printed[0] and matches(shown[1:], printed[1:])


def is_shown(block: Block, printed: str) -> bool:
    if block.language == "json":
        return compact(masked(block.text)) == compact(masked(printed))
    return matches(lines(block.text), lines(printed))


def script_of(found: list[Block]) -> str:
    """One shell script of all that is to be run, a line between two blocks."""
    parts = ["set -e"]
    for block in found:
        if "run" in block.tags:
            ending = "\nTHE_END\necho" if block.language == "python" else ""
            begin = f"{sys.executable} - <<'THE_END'\n" if block.language == "python" else ""
            parts.append(f"{begin}{block.text.rstrip()}{ending}\necho '{SEAM}'")
    return "\n".join(parts)


def folder_with_tools(folder: Path) -> Path:
    """Where examples run: `.venv/bin` as they call it, and a curl for a machine that has none."""
    tools = folder / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name, command in (("farebox", "-m farebox"), ("python", ""), ("curl", f"{tools / 'curl.py'}")):
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@"\n')
        (tools / name).chmod(0o755)
    (tools / "curl.py").write_text(CURL)
    return folder


def run(folder: Path, script: str, url: str, *, own_curl: bool = False) -> str:
    """Run a script there as a person would, and give what it printed."""
    environment = clean_environment()
    tools, path = str(folder / ".venv" / "bin"), environment["PATH"]
    environment["PATH"] = f"{tools}:{path}" if own_curl else f"{path}:{tools}"
    done = subprocess.run(
        ["sh", "-c", script.replace(HERE, url)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
    return done.stdout


@pytest.mark.process
@pytest.mark.parametrize("name", RUNNABLE)
def test_the_examples_of_a_page_run_and_print_what_it_shows(name: str, tmp_path: Path) -> None:
    found = blocks(name, page(name))
    folder = folder_with_tools(tmp_path)
    with up(folder / "farebox-data") as server:
        printed = run(folder, script_of(found), server.url).split(f"{SEAM}\n")
    runs = [block for block in found if "run" in block.tags]
    assert len(printed) == len(runs) + 1
    compared = 0
    for at, block in enumerate(found):
        if "output" in block.tags:
            before = found[at - 1]
            assert "run" in before.tags, f"{block}: the block before it is not run"
            answer = printed[runs.index(before)]
            assert is_shown(block, answer), f"{block} shows\n{block.text}\nbut it printed\n{answer}"
            compared += 1
    assert compared


@pytest.mark.process
def test_a_machine_without_curl_gets_the_same_first_answer(tmp_path: Path) -> None:
    found = blocks("README.md", page("README.md"))
    folder = folder_with_tools(tmp_path)
    first = next(block for block in found if "run" in block.tags)
    shown = found[found.index(first) + 1]
    with up(folder / "farebox-data") as server:
        assert is_shown(shown, run(folder, first.text, server.url, own_curl=True))


def test_every_program_in_python_is_run() -> None:
    programs = all_blocks("python")
    assert programs
    assert all("run" in block.tags for block in programs)


def test_the_welcome_in_the_readme_is_the_one_printed() -> None:
    settings = Settings(wallet=Wallet(starter_credit_nano=10 * NANO))
    welcome = Welcome(HERE, link=f"{HERE}/setup?token=secret", key=f"sk-{'0' * 64}", credit="10 USD")
    said = welcome.text(take_stock(settings, Found(), {}))
    (shown,) = [block for block in blocks("README.md", page("README.md")) if "welcome" in block.tags]
    *told, curl = lines(shown.text)
    *printed, real_curl = lines(said)
    assert told == printed
    assert real_curl.startswith(curl.removesuffix(" …"))


def test_the_mask_hides_nothing_but_what_differs() -> None:
    assert masked('"cost":0.0000153,"prompt_tokens":6') == '"cost":0.0000153,"prompt_tokens":6'
    assert not matches(["a", "…", "c"], ["a", "b", "d"])
    assert matches(["a", "…", "c"], ["a", "b", "c"])
    assert compact('{"a b": 1.50, "c":\n 2}') == '{"a b":1.50,"c":2}'
