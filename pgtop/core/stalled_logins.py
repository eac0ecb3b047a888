"""Login stalls: clients still connecting hold the slots, so that terminating sessions frees none for long.

A client that stops in the middle of its login holds a slot and is not a session. A slot that is freed goes to
the next such client. Terminating idle sessions then loses good sessions and solves nothing. Times are seconds
by a clock that only runs forward; nothing here reads one.
"""

from collections import Counter
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS, STARTING, Snapshot
from pgtop.core.outage import Limit, connecting_words, held_by_connecting
from pgtop.core.session_labels import label

CALM_SECONDS: Final = 600.0
"""Seconds without a sign of a stall after which it is over; the next stall then gets a try of its own.

This is longer than the 60 s after which `authentication_timeout` ends stalled logins by default: clients that
come back at once leave a gap in which a login succeeds.
"""

_ADDRESSES_NAMED: Final = 3


class Stall(msgspec.Struct, frozen=True):
    """A state in which logins are refused because of clients still connecting."""

    connecting: int
    """The number of slots they hold, as far as known; 0 if they hold none and are too many all the same."""
    sessions: int
    """The number of client backends that have logged in."""
    slots: int
    addresses: tuple[tuple[str, int], ...] = ()
    """The addresses they connect from, each with its number, largest first; known from PostgreSQL 18 on."""

    @property
    def words(self) -> str:
        """A sentence that says what holds the slots.

        >>> Stall(12, 8, 20).words
        '12 slots are held by clients still connecting'
        """
        if not self.connecting:
            return "too many clients are still connecting"
        return connecting_words(self.connecting)

    @property
    def origin(self) -> str:
        """The addresses they connect from, printable; "" if unknown.

        >>> Stall(12, 8, 20, (("192.0.2.7", 9), ("192.0.2.8", 3))).origin
        '9 from 192.0.2.7, 3 from 192.0.2.8'
        """
        return ", ".join(f"{number} from {label(name, '?')}" for name, number in self.addresses)


NO_HELP: Final = "terminating idle sessions will not help for long"

STALL_HELP: Final = (
    "on the server's host: pgtop break-glass --stalled-logins 10s; "
    "a shorter authentication_timeout; pg_hba.conf or a firewall against their addresses"
)
"""The remedies against a stall."""


def session_count(snapshot: Snapshot) -> int:
    """Return the number of client backends that have logged in.

    From PostgreSQL 18 on, pg_stat_activity shows others too, in state `starting`.
    """
    return snapshot.counts.total - snapshot.counts.starting


def stall_of(snapshot: Snapshot, warn_at: float, refusing: Limit | None = None) -> Stall | None:
    """Return the stall that a snapshot shows, with the limit that refuses logins; None if there is none.

    Logins are refused if `refusing` is one of the server's limits, or if every slot is taken, by client
    backends or by clients that are not listed. The number of sessions then decides the case:

    - Sessions hold every slot: the server is full, and it is an emergency.
    - Sessions hold `warn_at` of the slots or more, and clients still connecting hold the rest: it is an
     emergency too, since the sessions alone are on or over the line. Sessions are terminated until they are
     below the line, and no more: from there on it is the next case.
    - Sessions hold less: it is a stall. The clients still connecting are what keeps logins out.
    """
    sessions, slots = session_count(snapshot), snapshot.slots
    is_refused = (refusing is not None and refusing.is_the_servers) or snapshot.is_full
    if not is_refused or sessions / slots >= min(warn_at, 1.0):
        return None
    return logging_in(with_unlisted(snapshot, refusing))


def logging_in(snapshot: Snapshot, least_seconds: float = 0.0) -> Stall:
    """Return the clients still connecting that a snapshot shows, as a stall, even if it is not one.

    Those that it lists and that began later than `least_seconds` ago are left out: they log in as usual.
    """
    latest = snapshot.taken_at - round(least_seconds * MICROSECONDS)
    starting = [
        backend
        for backend in snapshot.backends
        if backend.state == STARTING and (backend.backend_start or 0) <= latest
    ]
    seen = Counter(backend.client_addr for backend in starting if backend.client_addr)
    addresses = tuple(seen.most_common(_ADDRESSES_NAMED))
    return Stall(len(starting) + snapshot.unlisted, session_count(snapshot), snapshot.slots, addresses)


def with_unlisted(snapshot: Snapshot, refusing: Limit | None) -> Snapshot:
    """Return a snapshot that counts the slots implied by the limit that refuses logins.

    They are held by clients still connecting, which the server does not list. If the poll saw more of them
    on the server's own host, that number stays.
    """
    by_refusal = held_by_connecting(refusing, snapshot.server.limits, snapshot.counts.total)
    return (
        msgspec.structs.replace(snapshot, unlisted=by_refusal) if by_refusal > snapshot.unlisted else snapshot
    )


class Episode(msgspec.Struct, frozen=True):
    """One stall, from its first sign until there has been none for CALM_SECONDS."""

    last_seen: float | None = None
    """The time of the last poll that showed it; None if there is no stall."""
    is_tried: bool = False
    """True once a session was terminated as a try. There is only one try in a stall."""

    def after(self, stall: Stall | None, now: float) -> "Episode":
        """Return the episode after a poll at `now`.

        >>> begun = Episode().after(Stall(12, 8, 20), 100.0)
        >>> begun.after(None, 101.0) == begun, begun.after(None, 100.0 + CALM_SECONDS) == Episode()
        (True, True)
        """
        if stall is not None:
            return Episode(now, self.is_tried)
        is_over = self.last_seen is None or now - self.last_seen >= CALM_SECONDS
        return Episode() if is_over else self

    def tried(self) -> "Episode":
        """Return the episode with its try made."""
        return msgspec.structs.replace(self, is_tried=True)
