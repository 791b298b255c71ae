"""A sheet as PDF. The same sheet gives the same bytes; only `billing.pages` decides what a document says.

Loaded when the first PDF is asked for, and then by the name of this module: `reportlab` is an extra (`farebox[pdf]`),
and takes memory that most workers never need.

Fonts: the operator's, if the settings name any, then Helvetica, which every reader of PDF has and which knows western
Europe's letters, then what the system has. A word is set in the first of them that knows all of its letters; a letter
that none knows becomes its currency's code, its nearest plain letter, or a question mark.

Lengths are whole thousandths of a point, which is 1/72 inch.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import groupby
from pathlib import Path

import msgspec
from reportlab.lib.colors import HexColor
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas

from farebox.billing.papers.pages.sheet import Column, Fact, Party, Sheet, Table

PAPERS = {"a4": (595_276, 841_890), "letter": (612_000, 792_000)}  # Width and height.
THOUSANDTH = 10**-3
MARGIN = 48_000
SMALL, BODY, HEAD, TITLE = 7_500, 9_000, 10_500, 20_000
LEADING = 12_500  # From line to line of text.
ROW_PAD = 4_500  # Above and below the text of a row, together.
GUTTER = 9_000  # Between two columns.
BOTTOM = MARGIN + 22_000  # Above the page's number.
THIN, THICK = 500, 1_200
BLACK, GREY, PALE = 0x1A1A1A, 0x606060, 0xD8D8D8
HELVETICA = "Helvetica"
# Widely installed, in the order of our liking.
SYSTEM_FONTS = (
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/noto/NotoSansDevanagari-Regular.ttf",
    "/usr/share/fonts/truetype/freefont/FreeSans.ttf",
    "/Library/Fonts/Arial Unicode.ttf",
    "/System/Library/Fonts/Supplemental/Arial Unicode.ttf",
)
_IN_PLACE = {"₹": "INR ", "₦": "NGN ", "₩": "KRW "}
_HYPHENS = {ord("\N{MINUS SIGN}"): "-"}  # Helvetica has no minus, and a number in two fonts looks like two.
# Words with the blanks before them. A currency's sign is a word, so that its amount keeps the font of the others.
_WORDS = re.compile(r" *[\u20a0-\u20cf]| *[^ \u20a0-\u20cf]+| +")
_HINGES = "-/_."  # After which a word too long for its line is rather cut.
UNKNOWN = "?"
_OUTLINED = 2  # PDF 1.7, 9.3.6: fill, then stroke.


class FontError(Exception):
    """A font of the settings cannot be used."""


class Printer:
    """Prints sheets on one size of paper. FontError if a font that the settings name is none."""

    def __init__(self, paper: str, fonts: Sequence[str] = ()) -> None:
        self._size = PAPERS[paper]
        self._fonts = [
            *(_open_font(path) for path in fonts),
            _PLAIN,
            *(_open_font(path) for path in SYSTEM_FONTS if Path(path).is_file()),
        ]
        self._turn = threading.Lock()  # The library keeps a font's state with the font.

    def print(self, sheet: Sheet) -> bytes:
        """The document."""
        with self._turn:
            layout = _Layout(self._size, self._fonts)
            _lay_out(layout, sheet)
            return layout.written(sheet)


class _Font(msgspec.Struct, frozen=True):
    """A font by its name; `letters` None is what Windows-1252 can say. `bold` None: drawn with a line around."""

    name: str
    bold: str | None
    letters: frozenset[int] | None

    def knows(self, text: str) -> bool:
        """Whether it has every letter of a text."""
        if self.letters is not None:
            return all(ord(letter) in self.letters for letter in text)
        try:
            text.encode("cp1252")
        except UnicodeEncodeError:
            return False
        return True


_PLAIN = _Font(HELVETICA, f"{HELVETICA}-Bold", None)


def _open_font(path: str) -> _Font:
    name = _registered(path)
    file = Path(path)
    bold = file.with_stem(f"{file.stem.removesuffix('-Regular')}-Bold")
    letters = frozenset(pdfmetrics.getFont(name).face.charToGlyph)
    return _Font(name, _registered(str(bold)) if bold.is_file() else None, letters)


def _registered(path: str) -> str:
    """The name under which the library knows a file from now on."""
    name = f"farebox:{path}"
    try:
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, path))
    except (TTFError, OSError) as error:
        raise FontError(f"{path} is no font that can be printed with: {error}") from error
    return name


class _Run(msgspec.Struct, frozen=True):
    """Letters in a row in one font, and how wide they come out."""

    font: _Font
    text: str
    width: int


class _Text(msgspec.Struct, frozen=True):
    """A piece of text at a place, in one font."""

    x: int
    y: int
    font: str
    size: int
    text: str
    colour: int
    outlined: bool


class _Rule(msgspec.Struct, frozen=True):
    """A line across."""

    x: int
    y: int
    width: int
    colour: int
    weight: int


class _Layout:
    """Pages being filled from top to bottom; what is on them is drawn at the end, when their number is known."""

    def __init__(self, size: tuple[int, int], fonts: Sequence[_Font]) -> None:
        self.width, self._height = size
        self._fonts = fonts
        self.pages: list[list[_Text | _Rule]] = [[]]
        self.y = self._height - MARGIN
        self.left, self.right = MARGIN, self.width - MARGIN

    def room(self, height: int) -> bool:
        """Whether so much still fits on the page."""
        return self.y - height >= BOTTOM

    def turn(self) -> None:
        """Begin a page."""
        self.pages.append([])
        self.y = self._height - MARGIN

    def down(self, height: int) -> None:
        """Go on so much lower."""
        self.y -= height

    def text(
        self,
        x: int,
        text: str,
        size: int = BODY,
        *,
        colour: int = BLACK,
        bold: bool = False,
        right: bool = False,
    ) -> None:
        """Put a line of text where we are; with `right` it ends at x."""
        runs = self._runs(text, size, bold=bold)
        x -= sum(run.width for run in runs) if right else 0
        for run in runs:
            outlined = bold and run.font.bold is None
            name = run.font.bold or run.font.name if bold else run.font.name
            self.pages[-1].append(_Text(x, self.y, name, size, run.text, colour, outlined))
            x += run.width

    def rule(self, x: int, width: int, colour: int, weight: int) -> None:
        """Draw a line across where we are."""
        self.pages[-1].append(_Rule(x, self.y, width, colour, weight))

    def measured(self, text: str, size: int, *, bold: bool = False) -> int:
        """How wide a text comes out."""
        return sum(run.width for run in self._runs(text, size, bold=bold))

    def wrapped(self, text: str, width: int, size: int = BODY, *, bold: bool = False) -> list[str]:
        """A text in lines that fit, broken at blanks, and inside what is longer than a line."""
        lines = [""]
        for word in text.split():
            for piece in self._cut(word, width, size, bold=bold):
                longer = f"{lines[-1]} {piece}".lstrip()
                if self.measured(longer, size, bold=bold) <= width:
                    lines[-1] = longer
                else:
                    lines.append(piece)
        return lines if lines[0] or len(lines) == 1 else lines[1:]

    def _cut(self, word: str, width: int, size: int, *, bold: bool) -> Iterator[str]:
        """A word in pieces that fit."""
        while self.measured(word, size, bold=bold) > width and len(word) > 1:
            at = len(word) - 1
            while at > 1 and self.measured(word[:at], size, bold=bold) > width:
                at -= 1
            at = max((word.rfind(hinge, at // 2, at) + 1 for hinge in _HINGES), default=0) or at
            yield word[:at]
            word = word[at:]
        yield word

    def _runs(self, text: str, size: int, *, bold: bool) -> list[_Run]:
        """A text as it is set; neighbours of one font go together."""
        pieces = [piece for word in _words(text) for piece in self._set(word)]
        runs = []
        for font, group in groupby(pieces, key=lambda piece: piece[0]):
            run = "".join(piece for _, piece in group)
            name = font.bold or font.name if bold else font.name
            runs.append(_Run(font, run, round(pdfmetrics.stringWidth(run, name, size))))
        return runs

    def _set(self, word: str) -> Iterator[tuple[_Font, str]]:
        """A word in the first font that knows it whole, else letter by letter."""
        font = self._font_for(word)
        if font is not None:
            yield font, word
            return
        for letter in word:
            known = self._font_for(letter)
            if known is not None:
                yield known, letter
            else:
                yield _PLAIN, _plain(letter)

    def _font_for(self, text: str) -> _Font | None:
        return next((font for font in self._fonts if font.knows(text)), None)

    def written(self, sheet: Sheet) -> bytes:
        """Draw it all."""
        target = BytesIO()
        # `invariant` leaves the time of printing out, so that bytes depend on the sheet alone.
        canvas = Canvas(target, invariant=1, pageCompression=1, lang="en")
        canvas.setTitle(f"{sheet.title} {sheet.subtitle}")
        canvas.setCreator("Farebox")
        canvas.setAuthor(sheet.parties[0].name)
        canvas.setSubject(sheet.name)
        filled, self.pages = self.pages, []
        for number, page in enumerate(filled, 1):
            self.turn()
            self.y = MARGIN
            self.text(self.left, f"{sheet.title} {sheet.subtitle}", SMALL, colour=GREY)
            self.text(self.right, f"Page {number} of {len(filled)}", SMALL, colour=GREY, right=True)
            canvas.setPageSize((self.width * THOUSANDTH, self._height * THOUSANDTH))
            canvas.scale(THOUSANDTH, THOUSANDTH)
            for mark in [*page, *self.pages[-1]]:
                _draw(canvas, mark)
            canvas.showPage()
        canvas.save()
        return target.getvalue()


def _words(text: str) -> list[str]:
    """A text in the pieces that keep one font each; signs without a form are left out."""
    clean = "".join(letter for letter in text if unicodedata.category(letter) not in {"Cc", "Cf", "Cs"})
    return _WORDS.findall(clean.translate(_HYPHENS))


def _plain(letter: str) -> str:
    """What stands for a letter that no font knows."""
    if letter in _IN_PLACE:
        return _IN_PLACE[letter]
    apart = unicodedata.normalize("NFKD", letter).encode("cp1252", "ignore").decode("cp1252")
    return apart or UNKNOWN


def _draw(canvas: Canvas, mark: _Text | _Rule) -> None:
    canvas.setStrokeColor(HexColor(mark.colour))
    match mark:
        case _Text():
            canvas.setFillColor(HexColor(mark.colour))
            canvas.setLineWidth(mark.size // 45)
            canvas.setFont(mark.font, mark.size)
            canvas.drawString(mark.x, mark.y, mark.text, mode=_OUTLINED if mark.outlined else None)
        case _Rule():
            canvas.setLineWidth(mark.weight)
            canvas.line(mark.x, mark.y, mark.x + mark.width, mark.y)


def _lay_out(layout: _Layout, sheet: Sheet) -> None:
    """Put a sheet on pages from top to bottom."""
    layout.y -= TITLE * 3 // 4
    layout.text(layout.left, sheet.title, TITLE, bold=True)
    layout.text(layout.right, sheet.subtitle, HEAD, colour=GREY, right=True)
    layout.down(10_000)
    layout.rule(layout.left, layout.right - layout.left, BLACK, THICK)
    layout.down(22_000)
    _sides(layout, sheet)
    for table in sheet.tables:
        _table(layout, table)
    _totals(layout, sheet.totals)
    _notes(layout, sheet.notes)


def _sides(layout: _Layout, sheet: Sheet) -> None:
    """The parties and the facts beside each other."""
    columns = [*map(_party, sheet.parties), [(_LABELLED, fact.label, fact.text) for fact in sheet.facts]]
    width = (layout.right - layout.left - GUTTER * (len(columns) - 1)) // len(columns)
    top = lowest = layout.y
    for number, lines in enumerate(columns):
        layout.y = top
        x = layout.left + number * (width + GUTTER)
        for style, label, text in lines:
            _side_line(layout, x, width, (style, label, text))
        lowest = min(lowest, layout.y)
    layout.y = lowest
    layout.down(8_000)


_HEADING, _NAME, _LINE, _LABELLED = range(4)
_Side = tuple[int, str, str]
_LABEL_WIDTH = 58_000


def _party(party: Party) -> list[_Side]:
    return [
        (_HEADING, "", party.heading.upper()),
        (_NAME, "", party.name),
        *((_LINE, "", line) for line in party.lines),
    ]


def _side_line(layout: _Layout, x: int, width: int, line: _Side) -> None:
    style, label, text = line
    if style == _LABELLED:
        layout.text(x, label, BODY, colour=GREY)
        x, width = x + _LABEL_WIDTH, width - _LABEL_WIDTH
    size, bold = (SMALL, False) if style == _HEADING else (BODY, style == _NAME)
    for piece in layout.wrapped(text, width, size, bold=bold):
        layout.text(x, piece, size, colour=GREY if style == _HEADING else BLACK, bold=bold)
        layout.down(LEADING)


def _table(layout: _Layout, table: Table) -> None:
    shares = sum(column.share for column in table.columns)
    room = layout.right - layout.left - GUTTER * (len(table.columns) - 1)
    widths = [room * column.share // shares for column in table.columns]
    layout.down(10_000)
    if not layout.room(4 * LEADING + HEAD):  # A heading does not stand alone at the foot of a page.
        layout.turn()
    if table.heading:
        layout.down(HEAD)
        layout.text(layout.left, table.heading, HEAD, bold=True)
        layout.down(LEADING + 2_000)
    _heading(layout, table, widths)
    plain = len(table.rows) - table.strong
    for number, row in enumerate(table.rows):
        strong = number >= plain
        cells = [
            [text] if column.number else layout.wrapped(text, width, bold=strong)
            for column, width, text in zip(table.columns, widths, row, strict=True)
        ]
        if not layout.room(max(map(len, cells)) * LEADING + ROW_PAD):
            layout.turn()
            layout.down(SMALL)
            _heading(layout, table, widths)
        _row(layout, table.columns, widths, cells, strong=strong)


def _heading(layout: _Layout, table: Table, widths: Sequence[int]) -> None:
    x = layout.left
    for column, width in zip(table.columns, widths, strict=True):
        layout.text(
            x + (width if column.number else 0), column.heading, SMALL, colour=GREY, right=column.number
        )
        x += width + GUTTER
    layout.down(5_000)
    layout.rule(layout.left, layout.right - layout.left, GREY, THIN)
    layout.down(LEADING)


def _row(
    layout: _Layout,
    columns: Sequence[Column],
    widths: Sequence[int],
    cells: Sequence[list[str]],
    *,
    strong: bool,
) -> None:
    top = lowest = layout.y
    x = layout.left
    for column, width, lines in zip(columns, widths, cells, strict=True):
        layout.y = top
        for line in lines:
            layout.text(x + (width if column.number else 0), line, bold=strong, right=column.number)
            layout.down(LEADING)
        lowest = min(lowest, layout.y)
        x += width + GUTTER
    layout.y = lowest + LEADING - ROW_PAD
    layout.rule(layout.left, layout.right - layout.left, PALE, THIN)
    layout.down(LEADING)


_TOTALS_WIDTH = 220_000


def _totals(layout: _Layout, totals: Sequence[Fact]) -> None:
    """The sums, to the right, kept together."""
    if not layout.room((len(totals) + 3) * (LEADING + ROW_PAD)):
        layout.turn()
    layout.down(12_000)
    for total in totals:
        size = HEAD + 1_500 if total.strong else BODY
        if total.strong:
            layout.rule(layout.right - _TOTALS_WIDTH, _TOTALS_WIDTH, BLACK, THICK)
            layout.down(LEADING + ROW_PAD)
        layout.text(layout.right - _TOTALS_WIDTH, total.label, size, bold=total.strong)
        layout.text(layout.right, total.text, size, bold=total.strong, right=True)
        layout.down(LEADING + 2_000)


def _notes(layout: _Layout, notes: Sequence[str]) -> None:
    layout.down(14_000)
    for note in notes:
        for line in layout.wrapped(note, layout.right - layout.left, SMALL + 500):
            if not layout.room(LEADING):
                layout.turn()
            layout.text(layout.left, line, SMALL + 500, colour=GREY)
            layout.down(LEADING - 1_500)
        layout.down(3_000)
