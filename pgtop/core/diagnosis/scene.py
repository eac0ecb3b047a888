"""All that a diagnosis may look at: the sessions, what was seen before them, and facts asked for beside."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from pgtop.core.activity import ACTIVE, IDLE, IN_TRANSACTION, PGTOP_PREFIX, Backend, Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.retaken_slots import Undone
from pgtop.core.session_labels import NO_APPLICATION, NO_DATABASE, NO_USER, address, label
from pgtop.core.stalled_logins import Stall

NOTHING_BLOCKS: Mapping[int, frozenset[int]] = MappingProxyType({})

NUMBER: Final = re.compile(r"(?<![A-Za-z])[0-9a-f]*[0-9][0-9a-f]*|[0-9]+")
_SESSIONS_OF_A_NAME: Final = 1.5
"""Names with more sessions each are of programs, and not of processes or jobs."""
_NAMES_OF_A_PROGRAM: Final = 3
"""Two names that differ in a number may be two programs, or two versions of one."""


class Application(NamedTuple):
    """The sessions of one application_name that log in as one user to one database."""

    application_name: str
    usename: str | None
    datname: str | None

    @property
    def name(self) -> str:
        """The name that a sentence uses, printable: the application's, or else the user's."""
        if self.application_name:
            return label(self.application_name, NO_APPLICATION)
        return f"{label(self.usename, NO_USER)}@{label(self.datname, NO_DATABASE)} without a name"


def application_of(backend: Backend) -> Application:
    """Return the application of a session."""
    return Application(backend.application_name or "", backend.usename, backend.datname)


class Client(NamedTuple):
    """The sessions of an application from one address."""

    application: Application
    address: str | None


class Traffic(NamedTuple):
    """The sessions of an application, or a client, that came and went while somebody watched."""

    opened: int
    closed: int
    most_in_use: int
    """The most that were in use at once."""


class Before(msgspec.Struct, frozen=True):
    """The history of a server before a snapshot."""

    watched_seconds: float = 0.0
    """The seconds watched, up to those for which traffic counts."""
    traffic: Mapping[Application, Traffic] = MappingProxyType({})
    growth_per_minute: float | None = None
    """The slots by which usage grows each minute; None if it does not grow, or was not watched for long."""
    growth_uncertainty: float = 0.0
    """The fraction by which the growth may be less: how much both halves of the time watched differ."""
    swept: tuple[Backend, ...] = ()
    """Leaked sessions that pgtop terminated a while ago, as they were then: a sweep does not end a leak."""
    undone: Undone | None = None
    """The last act of pgtop, if an application opened the terminated sessions again at once."""
    client_traffic: Mapping[Client, Traffic] = MappingProxyType({})


class Facts(msgspec.Struct, frozen=True):
    """Answers of the server beside the poll."""

    blocked_by: Mapping[int, frozenset[int]] = NOTHING_BLOCKS
    """The pids that block each waiting session, by the waiting pid; 0 stands for a prepared transaction."""
    stall: Stall | None = None
    """The login stall that is going on."""
    logins_per_minute: float | None = None
    keepalive_seconds: float | None = None
    """The seconds after which the server looks for a silent client (tcp_keepalives_idle); None if unknown."""


class Scene(msgspec.Struct, frozen=True, dict=True):
    """A snapshot with all that is known beside it, and the sessions that no finding explains yet."""

    snapshot: Snapshot
    before: Before
    facts: Facts
    thresholds: Thresholds
    left: tuple[Backend, ...]
    judged: int
    """The number of sessions that were left at the beginning."""

    @property
    def now(self) -> int:
        """The time of the snapshot, microseconds by the server's clock."""
        return self.snapshot.taken_at

    @property
    def floor(self) -> int:
        """The number of sessions from which on a finding is worth a sentence."""
        return self.thresholds.floor(self.snapshot.slots)

    @property
    def free(self) -> int:
        """The slots that are free."""
        return max(0, self.snapshot.slots - self.snapshot.taken)

    def without(self, findings: Iterable[Finding]) -> "Scene":
        """Return the scene without the sessions that these findings explain."""
        # Pids are enough within one snapshot.
        gone = {each.pid for finding in findings for each in finding.backends}
        return self.of(backend for backend in self.left if backend.pid not in gone) if gone else self

    def with_history(self, before: Before, facts: Facts) -> "Scene":
        """Return the scene with all that is known beside the snapshot."""
        known = msgspec.structs.replace(self, before=before, facts=facts)
        known.__dict__.update(self.__dict__)  # what was computed of the sessions alone is still true
        return known

    def of(self, backends: Iterable[Backend]) -> "Scene":
        """Return the scene of these sessions alone."""
        return msgspec.structs.replace(self, left=tuple(backends))

    @cached_property
    def by_application(self) -> Mapping[Application, tuple[Backend, ...]]:
        """The sessions left, by application."""
        # A plain tuple is made and hashed faster than an Application, and there is one for each session.
        found: defaultdict[tuple[str, str | None, str | None], list[Backend]] = defaultdict(list)
        for each in self.left:
            found[each.application_name or "", each.usename, each.datname].append(each)
        return {Application(*key): tuple(members) for key, members in found.items()}

    @cached_property
    def by_name(self) -> Mapping[str, tuple[tuple[Application, tuple[Backend, ...]], ...]]:
        """The applications left and their sessions, by application_name; "" for those without one."""
        found: defaultdict[str, list[tuple[Application, tuple[Backend, ...]]]] = defaultdict(list)
        for application, members in self.by_application.items():
            found[application.application_name].append((application, members))
        return {name: tuple(rows) for name, rows in found.items()}

    @cached_property
    def by_numbered_name(self) -> Mapping[str, tuple[Backend, ...]]:
        """The sessions left whose names differ only in a number, by that name with `…` in its place.

        A program that puts its pid or its job into its name is one program all the same.
        """
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name in self.by_name:
            if name != (common := NUMBER.sub("…", name)):
                found[common].append(name)
        programs = {}
        for common, names in found.items():
            members = tuple(each for name in names for _, there in self.by_name[name] for each in there)
            if len(names) >= _NAMES_OF_A_PROGRAM and len(members) <= _SESSIONS_OF_A_NAME * len(names):
                programs[common] = members
        return programs

    @cached_property
    def swept_by_application(self) -> Mapping[Application, tuple[Backend, ...]]:
        """The leaked sessions that pgtop terminated a while ago, by application."""
        found: defaultdict[Application, list[Backend]] = defaultdict(list)
        for each in self.before.swept:
            found[application_of(each)].append(each)
        return {application: tuple(members) for application, members in found.items()}

    # Signals

    def ago(self, seconds: float) -> int:
        """Return the time that many (compressed) seconds before the snapshot."""
        return self.now - self.thresholds.micros(seconds)

    @cached_property
    def _parked_before(self) -> int:
        return self.ago(self.thresholds.parked)

    @cached_property
    def _young_since(self) -> int:
        return self.ago(self.thresholds.young)

    @cached_property
    def _just_used_since(self) -> int:
        return self.ago(self.thresholds.just_used)

    def rests_for(self, backend: Backend, seconds: float) -> bool:
        """Return whether a session has been in its state for longer than that many (compressed) seconds."""
        since = backend.state_change
        return since is not None and since < self.ago(seconds)

    def is_parked(self, backend: Backend) -> bool:
        """Return whether a session is idle for so long that its pool, if any, does not come back to it.

        A session that listens rests rightly.
        """
        since = backend.state_change
        if backend.state != IDLE or since is None or since >= self._parked_before:
            return False
        return not self.snapshot.listeners or backend.id not in self.snapshot.listeners

    def is_at_rest(self, backend: Backend) -> bool:
        """Return whether a session is idle for longer than a pool takes to hand it out again."""
        return backend.state == IDLE and self.rests_for(backend, self.thresholds.overtaken)

    def is_young(self, backend: Backend) -> bool:
        """Return whether a session was opened only lately."""
        start = backend.backend_start
        return start is not None and start >= self._young_since

    def is_in_use(self, backend: Backend) -> bool:
        """Return whether a session is at work, or was a moment ago."""
        if backend.state == ACTIVE or backend.state in IN_TRANSACTION:
            return True
        if backend.state != IDLE or backend.query_start is None:  # one that was never used is not in use
            return False
        since = backend.state_change
        return since is None or since >= self._just_used_since


def is_judged(backend: Backend) -> bool:
    """Return whether a diagnosis looks at a session: not pgtop's own, and not one whose state is hidden."""
    return backend.backend_start is not None and not (backend.application_name or "").startswith(PGTOP_PREFIX)


def scene_of(
    snapshot: Snapshot,
    before: Before = Before(),  # noqa: B008 - frozen
    facts: Facts = Facts(),  # noqa: B008 - frozen
    thresholds: Thresholds = STANDARD,
) -> Scene:
    """Return the scene of a snapshot: all sessions but pgtop's own, and those whose state is hidden."""
    left = tuple(filter(is_judged, snapshot.backends))
    return Scene(snapshot, before, facts, thresholds, left, len(left))


def addresses_of(backends: Iterable[Backend]) -> tuple[tuple[str, int], ...]:
    """Return the addresses of sessions with the number of each, the largest first."""
    return tuple(Counter(address(backend) or "?" for backend in backends).most_common())


def one_value(values: Iterable[str | None]) -> str | None:
    """Return the one value that all share; None if they differ."""
    found = set(values)
    return next(iter(found)) if len(found) == 1 else None
