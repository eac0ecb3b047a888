"""Which of several pgtops on one server reaps by itself: pure judgement over the keys that sessions hold.

The key is taken in a shared mode, so that several hold it at once and nobody has to wait. Whoever may end
sessions comes before whoever may not, and then the oldest session first. A session counts only by what no
client can fake: its role. Its name is asked for beside that, since a role may do other work, too.
"""

from collections.abc import Iterable, Sequence

import msgspec

from pgtop.core.activity import MICROSECONDS, PGTOP_PREFIX, seconds_between
from pgtop.core.labels import NO_APPLICATION, NO_USER, label
from pgtop.core.text import duration


class Key(msgspec.Struct, frozen=True):
    """A session that holds pgtop's key to reaping."""

    pid: int
    backend_start: int
    """Microseconds since the Unix epoch, as all times here."""
    state_change: int | None
    """When the session was last heard of: its last statement began or ended then."""
    application_name: str
    usename: str | None
    is_shared: bool
    """False where it holds the key exclusively, which no pgtop does."""
    promise_seconds: int
    """Within which its holder says it will be heard of again."""
    rules: int | None
    """The digest of its rules; None where it tells none."""
    may_signal: bool
    """Whether its role may end the sessions of others: a superuser, or a member of pg_signal_backend."""
    is_same_role: bool
    """Whether its role is that of this session."""

    @property
    def host(self) -> str:
        """The host that pgtop runs on, as its application_name says after the @."""
        return self.application_name.partition("@")[2]


class PassedOver(msgspec.Struct, frozen=True):
    """A holder of the key that does not count."""

    key: Key
    reason: str
    """Without the numbers that change, so that it can be told apart from another one."""
    detail: str = ""

    @property
    def said(self) -> str:
        """The session and why it does not count, printable.

        `pid 4711 (mallory, pgtop daemon@x): its role may not end the sessions of others`.
        """
        user, name = label(self.key.usename, NO_USER), label(self.key.application_name, NO_APPLICATION)
        return f"pid {self.key.pid} ({user}, {name}): {self.reason}{self.detail}"


class Ranking(msgspec.Struct, frozen=True):
    """The holders of the key."""

    holders: tuple[Key, ...] = ()
    """Those that count, the one that reaps first."""
    passed_over: tuple[PassedOver, ...] = ()


def ranked(keys: Iterable[Key], own_pid: int, now: int) -> Ranking:
    """Those of the holders that count, in their order. `now` is the server's, microseconds.

    The session that asks counts whatever its role: it is at work, and may at least end those of its own role.
    """
    holders: list[Key] = []
    passed_over: list[PassedOver] = []
    for key in keys:
        fault = None if key.pid == own_pid and key.is_shared else _fault(key, now)
        if fault is None:
            holders.append(key)
        else:
            passed_over.append(fault)
    holders.sort(key=lambda each: (not each.may_signal, each.backend_start, each.pid))
    return Ranking(tuple(holders), tuple(passed_over))


def _fault(key: Key, now: int) -> PassedOver | None:
    """Why a session does not count; None where it does."""
    if not key.is_shared:
        return PassedOver(key, "holds pgtop's key exclusively")
    if not key.application_name.startswith(PGTOP_PREFIX):
        return PassedOver(key, "is not named as pgtop's sessions are")
    if not (key.may_signal or key.is_same_role):
        return PassedOver(key, "its role may not terminate the sessions of others")
    silent = seconds_between(key.state_change, now)
    if silent is None or silent > key.promise_seconds:
        detail = "" if silent is None else f", for {duration(silent)} (> {duration(key.promise_seconds)})"
        return PassedOver(key, "has not been heard from", detail)
    return None


def passed_over_sentence(passed_over: Sequence[PassedOver], most: int = 3) -> str:
    """The sessions that do not count, printable; "" for none.

    `passed over: pid 7 (mallory, psql): holds pgtop's key exclusively; and 2 more`.
    """
    if not passed_over:
        return ""
    said = [each.said for each in passed_over[:most]]
    more = [f"and {len(passed_over) - most} more"] if len(passed_over) > most else []
    return f"skipped: {'; '.join([*said, *more])}"


def is_outdated(seen_at: int, now: int, promise_seconds: int) -> bool:
    """Whether what was seen is too old to act on: the program did not run for longer than it promised.

    Both are the server's times in microseconds.
    """
    return now - seen_at > promise_seconds * MICROSECONDS
