"""Text that is safe to show, and numbers as people read them: the one gate between a server and a terminal.

Whatever `printable()` returns has a width that `cell_width()`, rich and the terminal agree on. A character on
which they disagree is replaced by `MARK`, visibly: nothing is dropped, so two names never look alike because
a difference between them is invisible. Arabic and Hebrew letters are kept, though a terminal that reorders
right-to-left text by itself may move the figures that stand after them in the same line.
"""

import math
import re
import unicodedata
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final, Literal

from pgtop.core.masking import masked_value

MARK: Final = "·"
"""Stands for one character that cannot be shown safely."""

ELLIPSIS: Final = "…"

LONGEST_DURATION_SECONDS: Final = 3650 * 86_400.0
"""What `parse_duration` accepts at most: ten years."""

# Vietnamese, Thai and Hebrew need two on one letter; a pile of them paints over other rows.
_MARKS_KEPT: Final = 2
_TAB: Final = 4

_BREAK: Final = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
_SPACE: Final = re.compile(r"[\t \xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_SPACES: Final = re.compile(r"[\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_UNSURE: Final = re.compile(r"[!-~]?[^ -~]+")

_DISPUTED: Final = (
    (0x034F, 0x034F),  # invisible: combining grapheme joiner
    (0x115F, 0x11FF),  # Hangul vowels and finals outside a composed syllable
    (0x17B4, 0x17B5),  # invisible: Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2630, 0x2637),  # wide since Unicode 16
    (0x268A, 0x268F),  # wide since Unicode 16
    (0x302E, 0x302F),  # Hangul tone marks
    (0x3164, 0x3164),  # invisible: Hangul filler
    (0x3248, 0x324F),  # numbers in a square: glibc, and with it tmux, has them wide
    (0x4DC0, 0x4DFF),  # wide since Unicode 16
    (0xD7B0, 0xD7FF),  # Hangul vowels and finals, extended
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),  # invisible: half-width Hangul filler
    (0x16FF0, 0x16FF1),  # Vietnamese reading marks
    (0x1D300, 0x1D37F),  # wide since Unicode 16
    (0x1F1E6, 0x1F1FF),  # regional indicators: a pair is one flag in some terminals
    (0x1F3FB, 0x1F3FF),  # skin tones: nothing, or two cells
    (0xE0000, 0xE0FFF),  # tags and variation selectors
)


def printable(text: str | None, *, newline: str = " ") -> str:
    """The text as one line that is safe in any terminal; "" for None.

    Blanks collapse to one and vanish at both ends; a run of blanks with a line break in it becomes `newline`.
    Every character that is not printable, or whose width terminals dispute, becomes `MARK`.

    >>> printable("SELECT 1\\n\\t  FROM t")
    'SELECT 1 FROM t'
    >>> printable("\\x1b[2Jx\\u202ey")
    '·[2Jx·y'
    """
    if not text:
        return ""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    if newline == " ":
        one_line = _SPACES.sub(" ", text)
    else:
        one_line = _SPACES.sub(lambda run: newline if _BREAK.search(run[0]) else " ", text.strip())
    return _safe(one_line.strip())


def printable_lines(text: str | None) -> list[str]:
    """The text as lines that are safe in any terminal, indentation kept; [] for None and for "".

    Tabs widen to four cells, blanks at the end of a line go, as do empty lines at the end.

    >>> printable_lines("SELECT\\n\\t1\\x07\\r\\n")
    ['SELECT', '    1·']
    """
    lines = [_safe(_SPACE.sub(" ", line.expandtabs(_TAB)).rstrip(" ")) for line in _BREAK.split(text or "")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _safe(line: str) -> str:
    """Replaces what cannot be shown; ASCII passes untouched and unlooked at."""
    if line.isascii() and line.isprintable():
        return line
    return _UNSURE.sub(lambda run: _safe_run(run[0]), line)


def _safe_run(run: str) -> str:
    # The pile of marks is bounded first: composing is quadratic in its height.
    kept: list[str] = []
    base, marks = False, 0
    for character in run:
        kind = _kind(character)
        if kind == "mark":
            marks += 1
            kept.append(character if base and marks <= _MARKS_KEPT else MARK)
        else:
            base, marks = kind == "shown", 0
            kept.append(character)
    composed = unicodedata.normalize("NFC", "".join(kept))
    return "".join(MARK if _kind(character) == "replaced" else character for character in composed)


@lru_cache(maxsize=4096)
def _kind(character: str) -> Literal["shown", "mark", "replaced"]:
    code = ord(character)
    if not character.isprintable() or any(first <= code <= last for first, last in _DISPUTED):
        return "replaced"
    category = unicodedata.category(character)
    if category in ("Mc", "Me"):  # beside or around their letter: no two terminals measure them alike
        return "replaced"
    return "mark" if category == "Mn" else "shown"


def cell_width(text: str) -> int:
    """How many cells of a terminal a printable text takes: East Asian wide ones and emoji take two.

    Equal to `rich.cells.cell_len` for everything `printable()` returns.
    """
    return len(text) if text.isascii() else sum(map(_width, text))


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def clip(text: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """A printable text in at most `width` cells, ended by `ellipsis` where something was cut off.

    >>> clip("leaky-worker", 6)
    'leaky…'
    """
    if cell_width(text) <= width:
        return text
    room = width - cell_width(ellipsis)
    if room < 0:
        return clip(text, width, "") if width > 0 else ""
    if text.isascii():
        return text[:room] + ellipsis
    used = 0
    for index, character in enumerate(text):
        used += _width(character)
        if used > room:
            return text[:index] + ellipsis
    return text + ellipsis


def folded(text: str, width: int) -> list[str]:
    """A printable text in lines of at most `width` cells, broken at blanks; a longer word is cut into pieces.

    >>> folded("a sweep frees none", 8)
    ['a sweep', 'frees', 'none']
    """
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_width(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        while cell_width(word) > width and (piece := clip(word, width, "")):
            lines[-1:] = [piece, ""]
            word = word[len(piece) :]
        lines[-1] = word
    return lines if lines[-1] or len(lines) == 1 else lines[:-1]


def fit(text: str, width: int, align: Literal["left", "right"] = "left") -> str:
    """A printable text in exactly `width` cells: clipped, or filled up with blanks.

    >>> fit("44", 5, "right"), fit("web", 5)
    ('   44', 'web  ')
    """
    clipped = clip(text, width)
    blanks = " " * (width - cell_width(clipped))
    return blanks + clipped if align == "right" else clipped + blanks


def duration(seconds: float | None) -> str:
    """An age in at most seven cells, rounded down; "" for None.

    Seconds are shown below ten minutes, minutes below a day, hours below a hundred days.

    >>> [duration(s) for s in (3.9, 542, 599, 600, 14 * 60 + 59, 7500, 273600)]
    ['3s', '9m 02s', '9m 59s', '10m', '14m', '2h 05m', '3d 04h']
    """
    if seconds is None or math.isnan(seconds):
        return ""
    whole = int(min(max(seconds, 0.0), 999_999 * 86_400.0))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if minutes < 1:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m {whole % 60:02}s"
    if hours < 1:
        return f"{minutes}m"
    if days < 1:
        return f"{hours}h {minutes % 60:02}m"
    return f"{days}d {hours % 24:02}h" if days < 100 else f"{days}d"


def ago(seconds: float | None) -> str:
    """An age as when it was; "" for None.

    >>> ago(0.4), ago(65)
    ('just now', '1m 05s ago')
    """
    if seconds is None:
        return ""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


_UNITS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?|\.[0-9]{1,15}) ?(ms|s|min|m|h|d|)")


def parse_duration(text: str) -> float:
    """Seconds from what a person typed: a number of seconds, or one with `ms`, `s`, `m`, `min`, `h` or `d`.

    Raises ValueError, saying what is accepted, for anything else and for more than ten years.

    >>> [parse_duration(t) for t in ("300", "5min", "1.5h", "250ms", "2d")]
    [300.0, 300.0, 5400.0, 0.25, 172800.0]
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f'"{clip(printable(masked_value(text)), 40)}" is not a duration: '
            "give seconds, or a number with ms, s, m, min, h or d, such as 300, 5min or 1.5h"
        )
    seconds = float(found[1]) * _UNITS[found[2]]
    if seconds > LONGEST_DURATION_SECONDS:
        raise ValueError(
            f'"{clip(printable(masked_value(text)), 40)}" is too long a duration: 3650d is the longest'
        )
    return seconds


def percent(fraction: float) -> str:
    """A fraction as whole percent, rounded down: 100% means no slot is left, 80% that the line is reached.

    >>> percent(0.996), percent(0.796), percent(0.29), percent(1.03)
    ('99%', '79%', '29%', '103%')
    """
    # 0.29 * 100 is 28.999999999999996; a real shortfall is never below one part in max_connections (262,143).
    return f"{math.floor(fraction * 100 + 1e-7)}%"


def plural(number: int, noun: str, many: str | None = None) -> str:
    """A number with its noun; `many` is the plural where it is not the noun and an s.

    >>> plural(1, "session"), plural(24, "session"), plural(2, "query", "queries")
    ('1 session', '24 sessions', '2 queries')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {many or noun + 's'}"


def clock(at: int, zone: tzinfo | None = None, *, seconds: bool = True) -> str:
    """The time of day of `at` (microseconds since the Unix epoch) in `zone`; None is this machine's own.

    >>> from datetime import UTC
    >>> clock(43_471_900_000, UTC), clock(43_471_900_000, UTC, seconds=False)
    ('12:04:31', '12:04')
    """
    moment = datetime.fromtimestamp(at // 1_000_000, tz=zone).astimezone(zone)
    return f"{moment:%H:%M:%S}" if seconds else f"{moment:%H:%M}"
