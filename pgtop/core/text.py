"""Text that is safe to show in a terminal, and numbers in the form that people read.

All text from a server passes through `printable()` on its way to the terminal. Its result has a width on
which `cell_width()`, rich and the terminal agree. A character on which they disagree is replaced by `MARK`.
Nothing is dropped, so that two names never look alike because their difference is invisible. Arabic and
Hebrew letters are kept, although a terminal that reorders right-to-left text may move the figures after them
in the same line.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final, Literal

from pgtop.core.masking import masked_value

MARK: Final = "·"
"""The character shown in place of one that cannot be shown safely."""

ELLIPSIS: Final = "…"

LONGEST_DURATION_SECONDS: Final = 3650 * 86_400.0
"""The longest duration that `parse_duration` accepts: ten years."""

# Vietnamese, Thai and Hebrew need two marks on one letter; a pile of them paints over other rows.
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
    """Return a text as one line that is safe in any terminal; "" for None.

    Runs of blanks become one blank and are removed at both ends; a run that contains a line break becomes
    `newline`. Every character that is not printable, or on whose width terminals disagree, becomes `MARK`.

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
    """Return a text as lines that are safe in any terminal, with their indentation; [] for None and for "".

    Tabs expand to four cells. Blanks at the end of a line and empty lines at the end of the text are removed.

    >>> printable_lines("SELECT\\n\\t1\\x07\\r\\n")
    ['SELECT', '    1·']
    """
    lines = [_safe(_SPACE.sub(" ", line.expandtabs(_TAB)).rstrip(" ")) for line in _BREAK.split(text or "")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _safe(line: str) -> str:
    """Replace the characters that cannot be shown. Printable ASCII is returned as it is, which is fast."""
    if line.isascii() and line.isprintable():
        return line
    return _UNSURE.sub(lambda run: _safe_run(run[0]), line)


def _safe_run(run: str) -> str:
    # The marks are limited before composing, which takes time quadratic in their number.
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
    if category in ("Mc", "Me"):  # beside or around their letter: terminals disagree on their width
        return "replaced"
    return "mark" if category == "Mn" else "shown"


def cell_width(text: str) -> int:
    """Return the terminal cells that a printable text takes. East Asian wide characters and emoji take two.

    The result equals that of `rich.cells.cell_len` for everything that `printable()` returns.
    """
    return len(text) if text.isascii() else sum(map(_width, text))


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def clip(text: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """Return a printable text in at most `width` cells, ended by `ellipsis` if something was cut off.

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


_SHORTEST_LAST_LINE: Final = 1 / 3
"""The part of the width that a folded text's last line fills: less looks like a remnant."""


def folded(text: str, width: int) -> list[str]:
    """Break a printable text at blanks into lines of at most `width` cells. Longer words are cut into pieces.

    A last line that would be short gets words of the lines above it, if that takes no further line; no line
    ends with a letter alone where that can be avoided.

    >>> folded("a sweep frees none", 8)
    ['a sweep', 'frees', 'none']
    >>> folded("Every termination is logged. A turns it off.", 40)
    ['Every termination is logged.', 'A turns it off.']
    """
    lines = filled(text, width)
    if len(lines) < 2 or cell_width(lines[-1]) >= width * _SHORTEST_LAST_LINE:
        return lines
    balanced = [
        each for each in _narrower(text, lines) if cell_width(each[-1]) >= width * _SHORTEST_LAST_LINE
    ]
    whole = (each for each in balanced if not any(re.search(r" .$", line) for line in each[:-1]))
    return next(whole, balanced[0] if balanced else lines)


def _narrower(text: str, lines: list[str]) -> Iterator[list[str]]:
    """Yield the text in as many lines that are ever narrower; no word is cut that was not."""
    least = max(cell_width(word) for word in text.split(" "))
    number, width = len(lines), max(map(cell_width, lines)) - 1
    while width >= least and len(lines) == number:
        lines = filled(text, width)
        width = max(map(cell_width, lines)) - 1
        if len(lines) == number:
            yield lines


def filled(text: str, width: int) -> list[str]:
    """Break a printable text at blanks into lines that each hold as many words as fit into `width` cells.

    >>> filled("Every termination is logged. A turns it off.", 40)
    ['Every termination is logged. A turns it', 'off.']
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
    """Return a printable text in exactly `width` cells: clipped, or padded with blanks.

    >>> fit("44", 5, "right"), fit("web", 5)
    ('   44', 'web  ')
    """
    clipped = clip(text, width)
    blanks = " " * (width - cell_width(clipped))
    return blanks + clipped if align == "right" else clipped + blanks


def duration(seconds: float | None) -> str:
    """Return a time that runs on, such as an age, in at most seven cells, rounded down; "" for None.

    Its parts stay as it grows, so that it keeps its place: `4m 59s`, `5m 00s`. For a length of time that is
    set, see `span`. Seconds are shown below ten minutes, minutes below a day, hours below a hundred days.

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


def span(seconds: float) -> str:
    """Return a length of time that is set or chosen and stands still: a duration without a smaller part of 0.

    Limits, settings, intervals and windows are such lengths; an age or a countdown is a `duration`.

    >>> span(300), span(90), span(3600)
    ('5m', '1m 30s', '1h')
    """
    return re.sub(r" 00[a-z]$", "", duration(seconds))


def ago(seconds: float | None) -> str:
    """Return an age as a time in the past; "" for None.

    >>> ago(0.4), ago(65)
    ('just now', '1m 05s ago')
    """
    if seconds is None:
        return ""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


_UNITS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?|\.[0-9]{1,15}) ?(ms|s|min|m|h|d|)")


def parse_duration(text: str) -> float:
    """Return a typed duration in seconds: a number, alone or with `ms`, `s`, `m`, `min`, `h` or `d`.

    It raises ValueError for anything else and for more than ten years; the message says what is accepted.

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
    """Return a fraction as whole percent, rounded down.

    So 100% always means that no slot is left, and 80% that a line at 80% is reached.

    >>> percent(0.996), percent(0.796), percent(0.29), percent(1.03)
    ('99%', '79%', '29%', '103%')
    """
    # 0.29 * 100 is 28.999999999999996; a real shortfall is never below one part in max_connections (262,143).
    return f"{math.floor(fraction * 100 + 1e-7)}%"


def plural(number: int, noun: str, many: str | None = None) -> str:
    """Return a number with its noun; `many` is the plural if it is not the noun with an s.

    >>> plural(1, "session"), plural(24, "session"), plural(2, "query", "queries")
    ('1 session', '24 sessions', '2 queries')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {many or noun + 's'}"


def clock(at: int, zone: tzinfo | None = None, *, seconds: bool = True) -> str:
    """Return the time of day of `at` (microseconds since the Unix epoch) in `zone`; None for the local zone.

    >>> from datetime import UTC
    >>> clock(43_471_900_000, UTC), clock(43_471_900_000, UTC, seconds=False)
    ('12:04:31', '12:04')
    """
    moment = datetime.fromtimestamp(at // 1_000_000, tz=zone).astimezone(zone)
    return f"{moment:%H:%M:%S}" if seconds else f"{moment:%H:%M}"
