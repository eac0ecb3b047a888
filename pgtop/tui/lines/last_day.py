"""The last 24 hours in one line, for the wall."""

from pgtop.core.diagnosis.cause_words import cause_words
from pgtop.core.episodes import DayInShort
from pgtop.core.text import clock, duration, percent, plural, span


def last_day_line(day: DayInShort | None, warn_at: float) -> str:
    """Return the last day in one line: `last 24h: 2 episodes, 14m full, last 03:26 leak in leaky-worker`.

    It is "" if nothing of it is known. `warn_at` is the line, a fraction of the slots.
    """
    if day is None:
        return ""
    hours = int(day.known_seconds // 3600)
    known = f"last {hours}h" if hours else f"last {span(day.known_seconds // 60 * 60)}"
    if day.last is None:
        return f"{known}: never over {percent(warn_at)}" if day.known_seconds >= 60 else ""
    said = [plural(day.number, "episode")]
    if day.full_seconds:
        said.append(f"{duration(day.full_seconds)} full")
    cause = "" if day.last.filled_by is None else f" {cause_words(day.last.filled_by.finding)}"
    said.append(f"last {clock(day.last.start, seconds=False)}{cause}")
    return f"{known}: {', '.join(said)}"
