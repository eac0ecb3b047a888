"""The choice of the one pgtop, of several on a server, that sweeps automatically.

Each candidate holds an advisory lock, called the key. It is taken in shared mode, so that several sessions
hold it at once and none has to wait. Sessions whose role may terminate others come first, and of these the
oldest. A session counts only by its role, which no client can fake. Its name is checked in addition, since
the role may do other work too.
"""

from collections.abc import Iterable, Sequence

import msgspec

from pgtop.core.activity import MICROSECONDS, PGTOP_PREFIX, seconds_between
from pgtop.core.session_labels import NO_APPLICATION, NO_USER, label
from pgtop.core.text import duration, span


class Key(msgspec.Struct, frozen=True):
    """A session that holds pgtop's key to automatic sweeps."""

    pid: int
    backend_start: int
    """Microseconds since the Unix epoch, as are all times here."""
    state_change: int | None
    """The time at which the session's last statement began or ended: the last sign of life."""
    application_name: str
    usename: str | None
    is_shared: bool
    """False if it holds the key exclusively, which no pgtop does."""
    promise_seconds: int
    """The seconds within which its holder promises the next sign of life."""
    rules: int | None
    """The digest of its rules; None if it gives none."""
    may_signal: bool
    """True if its role may terminate others' sessions: a superuser, or a member of pg_signal_backend."""
    is_same_role: bool
    """True if its role is that of this session."""

    @property
    def host(self) -> str:
        """The host that pgtop runs on: the part of its application_name after the @."""
        return self.application_name.partition("@")[2]


class PassedOver(msgspec.Struct, frozen=True):
    """A holder of the key that does not count, and the reason."""

    key: Key
    reason: str
    """The reason without changing numbers, so that the same reason stays equal from poll to poll."""
    detail: str = ""

    @property
    def said(self) -> str:
        """The session and the reason it does not count, printable.

        `pid 4711 (mallory, pgtop daemon@x): its role may not terminate the sessions of others`.
        """
        user, name = label(self.key.usename, NO_USER), label(self.key.application_name, NO_APPLICATION)
        return f"pid {self.key.pid} ({user}, {name}): {self.reason}{self.detail}"


class Ranking(msgspec.Struct, frozen=True):
    """The holders of the key, in order."""

    holders: tuple[Key, ...] = ()
    """Those that count. The first one sweeps."""
    passed_over: tuple[PassedOver, ...] = ()


def ranked(keys: Iterable[Key], own_pid: int, now: int) -> Ranking:
    """Rank the holders of the key. `now` is in microseconds by the server's clock.

    The session that asks counts whatever its role: it is alive, and may at least terminate sessions of its
    own role.
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
    """Return the reason a session does not count; None if it does."""
    if not key.is_shared:
        return PassedOver(key, "holds pgtop's key exclusively")
    if not key.application_name.startswith(PGTOP_PREFIX):
        return PassedOver(key, "is not named as pgtop's sessions are")
    if not (key.may_signal or key.is_same_role):
        return PassedOver(key, "its role may not terminate the sessions of others")
    silent = seconds_between(key.state_change, now)
    if silent is None or silent > key.promise_seconds:
        detail = "" if silent is None else f", for {duration(silent)} (> {span(key.promise_seconds)})"
        return PassedOver(key, "has not been heard from", detail)
    return None


def passed_over_sentence(passed_over: Sequence[PassedOver], most: int = 3) -> str:
    """Return a sentence with the sessions that do not count, printable; "" for none.

    `skipped: pid 7 (mallory, psql): holds pgtop's key exclusively; and 2 more`.
    """
    if not passed_over:
        return ""
    said = [each.said for each in passed_over[:most]]
    more = [f"and {len(passed_over) - most} more"] if len(passed_over) > most else []
    return f"skipped: {'; '.join([*said, *more])}"


def is_outdated(seen_at: int, now: int, promise_seconds: int) -> bool:
    """Return whether a reading is too old to act on: pgtop did not run for longer than it promised.

    `seen_at` and `now` are microseconds by the server's clock.
    """
    return now - seen_at > promise_seconds * MICROSECONDS
