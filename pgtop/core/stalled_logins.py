"""A login stall: clients that are still connecting hold the slots, and ending sessions makes no lasting room.

Whoever stops in the middle of a login holds a slot and is not a session: a slot that is freed goes to the
next of them. Ending idle sessions then costs good sessions and mends nothing. Times are seconds by a clock
that only runs forward; nothing here reads one.
"""

from collections import Counter
from typing import Final

import msgspec

from pgtop.core.activity import STARTING, Snapshot
from pgtop.core.labels import label
from pgtop.core.outage import Limit, connecting_words, held_by_connecting

CALM_SECONDS: Final = 600.0
"""How long logins must have succeeded again before a stall is over, and the next one gets its own try.

Longer than the 60 s after which `authentication_timeout` ends stalled logins by default: those who come back
at once leave a gap in which a login gets in.
"""

_ADDRESSES_NAMED: Final = 3


class Stall(msgspec.Struct, frozen=True):
    """Logins are refused, and clients that are still connecting are the reason."""

    connecting: int
    """Slots that they hold, as far as is known; 0 where they hold none and are too many all the same."""
    sessions: int
    """Client backends that have logged in."""
    slots: int
    addresses: tuple[tuple[str, int], ...] = ()
    """Where they connect from, the most first; known from PostgreSQL 18 on."""

    @property
    def words(self) -> str:
        """Who holds the slots.

        >>> Stall(12, 8, 20).words
        '12 slots are held by clients still connecting'
        """
        if not self.connecting:
            return "too many clients are still connecting"
        return connecting_words(self.connecting)

    @property
    def origin(self) -> str:
        """Where they connect from, printable; "" where that is not known.

        >>> Stall(12, 8, 20, (("192.0.2.7", 9), ("192.0.2.8", 3))).origin
        '9 from 192.0.2.7, 3 from 192.0.2.8'
        """
        return ", ".join(f"{number} from {label(name, '?')}" for name, number in self.addresses)


NO_HELP: Final = "terminating idle sessions will not help for long"

STALL_HELP: Final = (
    "on the server's host: pgtop break-glass --stalled-logins 10s; "
    "a shorter authentication_timeout; pg_hba.conf or a firewall against their addresses"
)
"""What helps against a stall."""


def session_count(snapshot: Snapshot) -> int:
    """Client backends that have logged in: from PostgreSQL 18 on the view shows others too, as `starting`."""
    return snapshot.counts.total - snapshot.counts.starting


def stall_of(snapshot: Snapshot, warn_at: float, refusing: Limit | None = None) -> Stall | None:
    """The stall that a snapshot and what `refusing` refuses logins show; None where sessions fill the server.

    Logins are refused where `refusing` is one of the server's limits, or the view counts as many client
    backends as there are slots. The sessions alone then tell which case it is:

    - they hold every slot: a full server, and an emergency;
    - they hold `warn_at` of the slots or more, and clients still connecting the rest: an emergency too, since
      the sessions alone are on the line or over it. It ends sessions until these are below the line, and no
      more: from there on it is the next case;
    - they hold less: a stall. What keeps logins out is the clients still connecting.
    """
    sessions, total, slots = session_count(snapshot), snapshot.counts.total, snapshot.slots
    is_refused = (refusing is not None and refusing.is_the_servers) or total >= slots
    if not is_refused or sessions / slots >= min(warn_at, 1.0):
        return None
    starting = [backend for backend in snapshot.backends if backend.state == STARTING]
    connecting = len(starting) + held_by_connecting(refusing, snapshot.server.limits, total)
    seen = Counter(backend.client_addr for backend in starting if backend.client_addr)
    return Stall(connecting, sessions, slots, tuple(seen.most_common(_ADDRESSES_NAMED)))


class Episode(msgspec.Struct, frozen=True):
    """One stall from its first sign until logins have succeeded for CALM_SECONDS."""

    last_seen: float | None = None
    """When a poll last showed it; None where there is none."""
    is_tried: bool = False
    """True once a session was ended for it: no other is."""

    def after(self, stall: Stall | None, now: float) -> "Episode":
        """The episode after a poll at `now`.

        >>> begun = Episode().after(Stall(12, 8, 20), 100.0)
        >>> begun.after(None, 101.0) == begun, begun.after(None, 100.0 + CALM_SECONDS) == Episode()
        (True, True)
        """
        if stall is not None:
            return Episode(now, self.is_tried)
        is_over = self.last_seen is None or now - self.last_seen >= CALM_SECONDS
        return Episode() if is_over else self

    def tried(self) -> "Episode":
        """The episode in which a session was ended."""
        return msgspec.structs.replace(self, is_tried=True)
