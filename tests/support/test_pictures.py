"""Pictures of the screen look alike in every viewer: what draws in cells is shapes, the rest is text."""

import html
import io
import re
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from rich.text import Text

from tests.support.pictures import CELL_WIDTH, portable

SVG = "{http://www.w3.org/2000/svg}"


def exported(text: str) -> str:
    """What rich makes of a line of text, as Textual's export does."""
    console = Console(width=40, height=2, file=io.StringIO(), record=True, force_terminal=True)
    console.print(Text(text))
    return console.export_svg(title="pgtop")


def letters(svg: str) -> str:
    """All text on the screen, its blanks left out."""
    found = re.findall(r"<text [^>]*textLength[^>]*>([^<]*)</text>", svg)
    return "".join(html.unescape(each) for each in found).replace("\N{NO-BREAK SPACE}", "").replace("\n", "")


def shapes(svg: str) -> list[ET.Element]:
    """The shapes drawn for cells."""
    tree = ET.fromstring(svg)  # noqa: S314 (made by this very test)
    groups = [each for each in tree.iter(f"{SVG}g") if each.get("shape-rendering")]
    return [shape for group in groups for shape in group]


def test_nothing_is_fetched_from_elsewhere() -> None:
    svg = portable(exported("text"))
    for fetched in ("Fira", 'url("http'):
        assert fetched in exported("text")
        assert fetched not in svg


def test_letters_stay_as_they_are_hostile_ones_too() -> None:
    text = "a<b> & 'c' \"d\" &lt; ✓ ● →"
    svg = portable(exported(text))
    assert letters(svg) == text.replace(" ", "")
    assert shapes(svg) == []


def test_braille_becomes_a_circle_a_dot_in_its_own_cell() -> None:
    svg = portable(exported("ab⣤⠁"))
    assert letters(svg) == "ab"
    drawn = [float(shape.attrib["cx"]) for shape in shapes(svg)]
    assert sorted(int(x // CELL_WIDTH) for x in drawn) == [2, 2, 2, 2, 3]


def test_blocks_and_lines_meet_at_the_edges_of_their_cells() -> None:
    svg = portable(exported("█▌─┃"))
    assert letters(svg) == ""
    full, half, *strokes = shapes(svg)
    assert (float(full.attrib["x"]), float(full.attrib["width"])) == (0, CELL_WIDTH)
    assert (float(half.attrib["x"]), float(half.attrib["width"])) == (CELL_WIDTH, CELL_WIDTH / 2)
    ends = [float(each.attrib["x"]) + float(each.attrib["width"]) for each in strokes]
    assert ends[:2] == pytest.approx([31.2, 3 * CELL_WIDTH], abs=0.02)  # left's ends past the middle
