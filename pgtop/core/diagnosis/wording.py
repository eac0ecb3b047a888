"""The pieces of which the sentences of a diagnosis are made."""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

from pgtop.core.activity import MICROSECONDS, Backend, seconds_between
from pgtop.core.diagnosis.findings import Advice
from pgtop.core.diagnosis.statements import shown_statement
from pgtop.core.doctor.remedies import Identifier, literal
from pgtop.core.session_labels import NO_APPLICATION, label
from pgtop.core.text import clip, clock, duration, printable

_NAMED: Final = 3
_BRIEF: Final = 24
"""The most cells of a statement where room is short: its verb and its table."""


def named(counted: Iterable[tuple[str, int]], most: int = _NAMED) -> str:
    """Return names with their numbers: `web 41, api 22, and 3 more`; the names are printable.

    >>> named([("web", 41), ("api", 22)]), named([("a", 3), ("b", 2), ("c", 1)], 2)
    ('web 41, api 22', 'a 3, b 2, and 1 more')
    """
    listed = list(counted)
    said = ", ".join(f"{name} {number}" for name, number in listed[:most])
    return f"{said}, and {len(listed) - most} more" if len(listed) > most else said


def origins(addresses: Sequence[tuple[str, int]], most: int = 2) -> str:
    """Return the addresses with their numbers: `10.0.4.7 (31), 10.0.4.9 (13)`."""
    said = ", ".join(f"{printable(name)} ({number})" for name, number in addresses[:most])
    return f"{said}, and {len(addresses) - most} more" if len(addresses) > most else said


def since_words(at: int | None) -> str:
    """Return ` since 14:02`; "" for None."""
    return "" if at is None else f" since {clock(at, seconds=False)}"


def age(start: int | None, now: int) -> str:
    """Return the age of a moment as a duration: `12m`."""
    return duration(seconds_between(start, now))


def earliest(moments: Iterable[int | None]) -> int | None:
    """Return the first of some moments; None without any."""
    return min((each for each in moments if each is not None), default=None)


def last_of_most(backends: Iterable[Backend]) -> tuple[str, int]:
    """Return the most frequent last statement, as it is shown, and its number; "" without any."""
    statements: Counter[str] = Counter()
    for query, number in Counter(each.query for each in backends if each.query).items():
        statements[shown_statement(query)] += number  # a pool's sessions have few texts, each formatted once
    return statements.most_common(1)[0] if statements else ("", 0)


def brief(statement: str, most: int = _BRIEF) -> str:
    """Return the beginning of a statement in at most `most` cells, for a sentence that is short of room.

    >>> brief("ALTER TABLE orders ADD COLUMN x int"), brief("COMMIT")
    ('ALTER TABLE orders ADD…', 'COMMIT')
    """
    begun = clip(statement, most)
    return begun if begun == statement else f"{begun[:-1].rstrip()}…"


def code_advice(text: str, statement: str, rule: str = "") -> tuple[Advice, ...]:
    """Return the advice to look for the code that runs a statement; none without a statement.

    `rule` narrows the check to one rule.
    """
    if not statement:
        return ()
    narrowed = f" --rule {rule}" if rule else ""
    return (Advice(text, command=f"pgtop leaks .{narrowed} --statement {shlex.quote(statement)}"),)


def by_application(backends: Iterable[Backend]) -> list[tuple[str, int]]:
    """Return the applications of sessions with the number of each, the largest first; printable."""
    return Counter(map(application_name, backends)).most_common()


def median_seconds(moments: Iterable[int | None], now: int) -> float:
    """Return the median age of moments, in seconds; 0 without any."""
    ages = [(now - each) / MICROSECONDS for each in moments if each is not None]
    return median(ages) if ages else 0.0


def rate_words(per_minute: float) -> str:
    """Return a rate as people say it.

    >>> rate_words(2.34), rate_words(0.25), rate_words(31.7)
    ('+2.3 a minute', '+15 an hour', '+32 a minute')
    """
    if per_minute >= 10:
        return f"+{per_minute:.0f} a minute"
    return f"+{per_minute:.1f} a minute" if per_minute >= 1 else f"+{per_minute * 60:.0f} an hour"


def application_name(backend: Backend) -> str:
    """Return the name of a session's application, printable."""
    return label(backend.application_name, NO_APPLICATION)


def quoted(name: str) -> str:
    """Return a name as an SQL identifier that can be shown and copied without loss.

    It is always quoted: which words are reserved depends on the server's version.

    >>> print(quoted("user"), quoted("Ops Team"))
    "user" "Ops Team"
    """
    return Identifier(name, '"' + name.replace('"', '""') + '"').sql


def set_for_role(role: str | None, setting: str, value: str) -> str:
    """Return the statement that gives a role a setting of its own; "" if there is not one role."""
    if role is None:
        return ""
    return f"ALTER ROLE {quoted(role)} SET {setting} = {literal(value)};"
