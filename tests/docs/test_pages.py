"""The pages hold together: links lead somewhere, blocks can be read, generated parts are fresh, lines are short."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from farebox.app.office import KNOWN
from farebox.config.read import read_settings
from tests.docs import generated
from tests.docs.pages import ROOT, Block, all_blocks, headings, links, pages, prose

PAGES = pages()
LANGUAGES = {"sh", "python", "toml", "json", "json-lines", "text", "console", "ini", "nginx"}
WIDTH = 120
# American spellings, apart so that this file does not hold them: the house writes British English.
AMERICAN = [
    "behav" + "ior",
    "col" + "or",
    "hon" + "or ",
    "recogn" + "iz",
    "organ" + "iz",
    "catal" + "og ",
    "author" + "iz",
    "normal" + "iz",
]
EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")


def anchor(heading: str) -> str:
    """What a heading is linked by: small letters, no signs, hyphens for blanks."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in links(PAGES[name]):
        if re.match(r"https?://", target):
            continue
        path, _, fragment = target.partition("#")
        there = (ROOT / name).parent / path if path else ROOT / name
        assert there.exists(), f"{name}: {target}"
        if fragment:
            assert fragment in map(anchor, headings(there.read_text("utf-8"))), f"{name}: {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = (target.partition("#")[0] for target in links(page.read_text("utf-8")))
        waiting += [(page.parent / target).resolve() for target in targets if target and "://" not in target]
    assert {ROOT / name for name in PAGES} <= reached


@pytest.mark.parametrize("name", PAGES)
def test_lines_are_short_and_the_language_is_plain(name: str) -> None:
    for number, line in prose(PAGES[name]):
        # A table's row cannot be broken; what the command line says of itself is not ours to break either.
        assert len(line) <= WIDTH or line.startswith("|"), f"{name}:{number} has {len(line)} characters"
        assert not EMOJI.search(line), f"{name}:{number} has a picture in it"
        lower = f"{re.sub('`[^`]*`', '', line).lower()} "
        assert not [word for word in AMERICAN if word in lower], f"{name}:{number} is not British English"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_begins_with_its_only_title(name: str) -> None:
    titles = [line for _, line in prose(PAGES[name]) if line.startswith("# ")]
    assert len(titles) == 1
    assert PAGES[name].startswith(titles[0])


@pytest.mark.parametrize("name", PAGES)
def test_generated_parts_are_what_would_be_written(name: str) -> None:
    assert generated.renewed(PAGES[name]) == PAGES[name], f"{name} has fallen behind: run `make docs`"


def test_every_generated_part_stands_on_a_page() -> None:
    used = [part for text in PAGES.values() for part in generated.parts_of(text)]
    assert sorted(used) == sorted(generated.PARTS)


def test_a_changed_part_is_written_anew() -> None:
    text = "# A\n\n<!-- begin: plans -->\nold\n<!-- end -->\nrest\n"
    assert (
        generated.renewed(text)
        == f"# A\n\n<!-- begin: plans -->\n\n{generated.plans()}\n<!-- end -->\nrest\n"
    )
    assert generated.renewed(generated.renewed(text)) == generated.renewed(text)


def test_every_block_says_its_language() -> None:
    unknown = [str(block) for block in all_blocks() if block.language not in LANGUAGES]
    assert not unknown


@pytest.mark.parametrize("block", all_blocks("toml"), ids=str)
def test_settings_on_a_page_can_be_used(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "farebox.toml"
    file.write_text(block.text, "utf-8")
    named = re.findall(r"\"\$(\w+)\"", block.text)
    settings = read_settings(file, dict.fromkeys(named, "sk-example"), KNOWN)
    assert tomllib.loads(block.text)
    assert settings.from_file


@pytest.mark.parametrize("block", all_blocks("json", "json-lines"), ids=str)
def test_json_on_a_page_is_json(block: Block) -> None:
    texts = block.text.splitlines() if block.language == "json-lines" else [block.text]
    assert texts
    for text in texts:
        assert isinstance(msgspec.json.decode(text), dict)


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.svg")), ids=lambda path: path.name)
def test_a_drawing_is_whole_and_says_in_words_what_it_shows(path: Path) -> None:
    drawing = ET.fromstring(path.read_text("utf-8"))
    space = {"svg": "http://www.w3.org/2000/svg"}
    assert drawing.findtext("svg:title", namespaces=space)
    assert len(drawing.findtext("svg:desc", "", namespaces=space)) > 100
    digits = [text.text for text in drawing.iterfind("svg:text[@class='digit']", space)]
    assert digits == [str(number) for number in range(1, 9)]
