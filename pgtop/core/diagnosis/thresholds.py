"""Every number that a verdict depends on, each with its reason.

Times are seconds. `compression` divides all of them by one factor, so that a test with real sessions takes
seconds instead of minutes.
"""

import msgspec


class Thresholds(msgspec.Struct, frozen=True):
    """The numbers. They were set from public cases before any test and are the same for every server."""

    compression: float = 1.0
    """The factor by which times are divided."""

    speaks_from_usage: float = 0.7
    """Below this usage, a fraction, a full pool is somebody's sizing, not an incident."""
    speaks_before_full: float = 3600.0
    """A server that is full within the hour is worth a word at any usage."""
    floor_sessions: int = 5
    """Fewer sessions than these are noise on a server of any size …"""
    floor_share: float = 0.08
    """… and fewer than this fraction of the slots are not what fills it."""

    parked: float = 60.0
    """A pool in use comes back to a session within a minute."""
    overtaken: float = 5.0
    """A pool may open a session while another one is on its way back; seconds later it would reuse it."""
    leak_sessions: int = 6
    """Several processes behind one address overtake each other, but seldom so often …"""
    leak_share: float = 0.05
    """… on a large server not in this fraction of the slots."""
    leak_least: int = 2
    """One session that rests says nothing of the user it belongs to."""
    leak_of_address: int = 3
    """People, and programs of two or three processes, have fewer sessions at rest at each address."""
    leak_older: float = 0.1
    """The part of the lost sessions that may have parked long before the leak began: they are a pool's."""
    full_share: float = 0.02
    """With fewer free slots than this fraction, a leak has stopped because it is refused."""
    leak_of_parked: float = 0.5
    """The part of an application's parked sessions that must have been overtaken."""
    leak_span: float = 120.0
    """A burst is over in two minutes; a leak is not."""
    leak_span_when_full: float = 30.0
    """A leak that fills the server cannot go on: half a minute tells, if each session was used once."""
    leak_part: float = 0.1
    """A leak goes on: each part of its time, a quarter or a third, has at least this fraction of it."""
    leak_quarters_from: int = 60
    """With fewer sessions than this, chance leaves a quarter empty: thirds are counted."""
    leak_order: float = 0.5
    """A leak loses sessions about in the order in which it opened them: the correlation of both, at least."""
    leak_pause: float = 180.0
    """A leak that has opened nothing for three minutes, and three times its usual gap, has stopped."""
    leak_gaps: float = 3.0
    """The number of usual gaps after which a leak has stopped."""
    useful_share: float = 0.02
    """A leaked session is used once, and then rests for more than all of its life but this part."""
    watched: float = 120.0
    """After so much watching, who came and went overrules the ages."""
    closed_of_opened: float = 0.5
    """An application that closes more than this part of what it opens has no leak."""
    periodic: float = 0.2
    """Gaps that deviate from their mean by less than this fraction are a timer's."""
    periodic_sessions: int = 6

    stall_share: float = 0.25
    """Logins take an instant: clients in the middle of one hold this part of the slots only if they hang."""

    silent: float = 120.0
    """An address whose sessions all rest for two minutes …"""
    silent_together: float = 60.0
    """… half of which stopped within a minute, stopped at once …"""
    silent_elsewhere: float = 60.0
    """… if the same application is at work elsewhere in the last minute."""
    silent_alone: float = 180.0
    """A pool that uses its last session first may rest by chance: its address must be silent for longer …"""
    silent_gaps: int = 10
    """… and for this many times as long as the slowest of the other addresses has rested."""
    silent_sessions: int = 2
    """One session that rests says nothing of its host."""

    in_transaction: float = 5.0
    """A transaction that waits for its client for seconds holds more than its slot."""
    slow: float = 10.0
    """Longer than the statements of an application at work, shorter than a report's."""
    slow_alike: float = 0.5
    """The part of the slow sessions that must run one statement."""
    tools: float = 1800.0
    """Somebody who has not touched a tool for half an hour is not at it."""

    young: float = 300.0
    """A session of the last five minutes belongs to what is happening now."""
    surge_sessions: int = 8
    surge_share: float = 0.2
    """The part of the slots that new sessions of one application must hold."""
    surge_in_use: float = 0.5
    """The part of the new sessions that must be at work or just were."""
    surge_replaced: float = 0.5
    """If earlier findings hold this many of its sessions for each new one, the new ones replace them."""
    surge_new: float = 0.5
    """New sessions that are fewer than this part of the application's are a pool's that renews its own."""
    just_used: float = 30.0
    """A session used in the last half minute is one in use."""

    arithmetic_usage: float = 0.75
    """Below this usage, a fraction, the pools fit."""
    arithmetic_share: float = 0.25
    """An application with less than this part of the slots is not what fills the server."""
    arithmetic_headroom: float = 2.0
    """Pools that keep fewer sessions than this many times those at work would keep requests waiting."""
    arithmetic_explained: float = 0.25
    """If other findings explain more than this part of the sessions, size is not the cause."""
    arithmetic_alike: float = 0.75
    """Pools are alike if they hold at least this part of the largest …"""
    arithmetic_addresses: float = 0.6
    """… at this part of the addresses or more."""
    arithmetic_line: float = 0.9
    """The usage that pools of the advised size leave, a fraction."""
    deploy_share: float = 1.25
    """A rolling deploy runs a quarter more of them for a while."""

    def floor(self, slots: int) -> int:
        """Return the number of sessions from which on a finding is worth a sentence."""
        return max(self.floor_sessions, round(self.floor_share * slots))

    def micros(self, seconds: float) -> int:
        """Return seconds of these thresholds as microseconds, compressed."""
        return int(seconds * 1_000_000 / self.compression)


STANDARD = Thresholds()
