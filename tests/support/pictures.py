"""Pictures of a terminal: turns Textual's SVG export into one that looks alike everywhere, and into a PNG.

What draws in cells (Braille, blocks, box drawing) becomes shapes, so that the curves and frames align
whatever font the viewer has; the letters keep to one family, and nothing is fetched from elsewhere.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

CELL_WIDTH, CELL_HEIGHT = 12.2, 24.4
"""Of a cell in the export, in its pixels: rich's figures."""
BASELINE = 18.5
"""From a cell's top down to the letters' baseline."""

FAMILY = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
FONTS = ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSansMono-Oblique.ttf")
FONT_DIRECTORIES = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path("/Library/Fonts"))

_TEXT = re.compile(
    r'<text class="(?P<style>[^"]+)" x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="[\d.]+"'
    r'(?P<clip> clip-path="[^"]+")>(?P<text>[^<]*)</text>'
)
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_SHADES = {"░": 0.25, "▒": 0.5, "▓": 0.75}
_DIRECTIONS = {
    "UP": {"up"},
    "DOWN": {"down"},
    "LEFT": {"left"},
    "RIGHT": {"right"},
    "HORIZONTAL": {"left", "right"},
    "VERTICAL": {"up", "down"},
}

Box = tuple[float, float, float, float]
"""Left, top, width and height, in parts of a cell."""


def portable(svg: str) -> str:
    """The same picture without fonts of others' servers, and with shapes for what draws in cells."""
    plain = _FONT_FACE.sub("", svg)
    plain = plain.replace("Fira Code, monospace", FAMILY).replace(
        "font-family: arial", f"font-family: {FAMILY}"
    )
    return _TEXT.sub(_with_shapes, plain)


BLANK_PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'
"""A picture to test with whether pictures can be made here at all."""


def to_png(svg: str) -> bytes:
    """The picture as PNG, at its own size.

    Raises FileNotFoundError without the DejaVu Sans Mono fonts, ModuleNotFoundError without the `dev` extra.
    """
    import resvg_py  # not in the `test` extra, and pytest imports this module for its doctests

    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg, skip_system_fonts=True, font_files=_fonts(), monospace_family="DejaVu Sans Mono"
        )
    )


def _fonts() -> list[str]:
    found = [str(path) for place in FONT_DIRECTORIES for name in FONTS for path in place.rglob(name)]
    if not found:
        raise FileNotFoundError("no DejaVu Sans Mono in the system's fonts: install fonts-dejavu-core")
    return found


def _with_shapes(match: re.Match[str]) -> str:
    """A run of text with blanks where shapes are drawn, and the shapes."""
    characters = html.unescape(match["text"])
    left, top = float(match["x"]), float(match["y"]) - BASELINE
    letters: list[str] = []
    shapes: list[str] = []
    for index, character in enumerate(characters):
        drawn = list(_shapes(character, left + index * CELL_WIDTH, top))
        shapes += drawn
        letters.append("\N{NO-BREAK SPACE}" if drawn else character)
    if not shapes:
        return match[0]
    group = f'<g class="{match["style"]}"{match["clip"]} shape-rendering="crispEdges">{"".join(shapes)}</g>'
    text = "".join(letters)
    if not text.strip():
        return group
    return group + match[0].replace(match["text"], html.escape(text).replace("\N{NO-BREAK SPACE}", "&#160;"))


def _shapes(character: str, left: float, top: float) -> Iterator[str]:
    """The SVG elements for a character that draws in its cell; none for a letter."""
    code = ord(character)
    if 0x2800 <= code < 0x2900:
        for column, row in _dots(code - 0x2800):
            x, y = left + (column + 0.5) * CELL_WIDTH / 2, top + (row + 0.5) * CELL_HEIGHT / 4
            yield f'<circle cx="{x:.2f}" cy="{y:.2f}" r="1.9" shape-rendering="auto"/>'
        return
    opacity = _SHADES.get(character)
    for x, y, width, height in [(0.0, 0.0, 1.0, 1.0)] if opacity else _boxes(character):
        yield (
            f'<rect x="{left + x * CELL_WIDTH:.2f}" y="{top + y * CELL_HEIGHT:.2f}"'
            f' width="{width * CELL_WIDTH:.2f}" height="{height * CELL_HEIGHT:.2f}"'
            + (f' fill-opacity="{opacity}"/>' if opacity else "/>")
        )


def _dots(bits: int) -> list[tuple[int, int]]:
    """Columns and rows of the dots of a Braille pattern: bits 0 to 2 and 6 are left, 3 to 5 and 7 right."""
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    return [place for bit, place in enumerate(places) if bits >> bit & 1]


def _boxes(character: str) -> list[Box]:
    """The rectangles of a block element or a box drawing character.

    >>> _boxes("▌"), _boxes("x")
    ([(0, 0, 0.5, 1)], [])
    """
    code = ord(character)
    if 0x2581 <= code <= 0x2588:  # lower eighths, up to the full block
        height = (code - 0x2580) / 8
        return [(0, 1 - height, 1, height)]
    if 0x2589 <= code <= 0x258F:  # left eighths, downwards
        return [(0, 0, (0x2590 - code) / 8, 1)]
    fixed: dict[str, Box] = {"▀": (0, 0, 1, 0.5), "▐": (0.5, 0, 0.5, 1), "▔": (0, 0, 1, 1 / 8)}
    fixed["▕"] = (7 / 8, 0, 1 / 8, 1)
    if character in fixed:
        return [fixed[character]]
    return _lines(unicodedata.name(character, ""))


def _lines(name: str) -> list[Box]:
    """The strokes of a box drawing character, by its Unicode name."""
    words = name.split()
    if words[:2] != ["BOX", "DRAWINGS"] or "DOUBLE" in words or "DIAGONAL" in words:
        return []
    pixels = 2.6 if "HEAVY" in words else 1.4
    wide, high = pixels / CELL_WIDTH, pixels / CELL_HEIGHT
    middle_x, middle_y = (1 - wide) / 2, (1 - high) / 2
    dashes = {"TRIPLE": 3, "QUADRUPLE": 4}.get(words[3], 1) if len(words) > 3 else 1
    if dashes > 1:
        part = 1 / dashes
        if "HORIZONTAL" in words:
            return [(part * (each + 0.15), middle_y, part * 0.7, high) for each in range(dashes)]
        return [(middle_x, part * (each + 0.15), wide, part * 0.7) for each in range(dashes)]
    strokes: dict[str, Box] = {
        "left": (0, middle_y, middle_x + wide, high),
        "right": (middle_x, middle_y, 1 - middle_x, high),
        "up": (middle_x, 0, wide, middle_y + high),
        "down": (middle_x, middle_y, wide, 1 - middle_y),
    }
    wanted = {direction for word in words for direction in _DIRECTIONS.get(word, set())}
    return [box for direction, box in strokes.items() if direction in wanted]
