"""Scrubber: other names in place of a server's own, so that what was recorded can be shown to somebody else.

Equal names stay equal, and the diagnosis says the same of them. What it knows an application by is kept: the
names of people's tools, of monitoring and backup programs, of PostgreSQL's own clients, and of pgtop. So are
`postgres`, the loopback's addresses, pids, ports, states and times. Of a statement the fingerprint is kept,
with other identifiers: SQL's words and the functions that everybody has stay.
"""

import re
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import msgspec

from pgtop.core.activity import (
    PGTOP_PREFIX,
    Backend,
    BackendId,
    ConnectionLimit,
    LimitOf,
    Privileges,
    Server,
    Snapshot,
)
from pgtop.core.diagnosis.cause_words import cause_words
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.kinds.leak import MONITORING
from pgtop.core.diagnosis.kinds.tools import TOOLS
from pgtop.core.diagnosis.scene import NUMBER, Facts
from pgtop.core.diagnosis.statements import fingerprint
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.recorded import Acted, Diagnosed, Event, OutageBegan, Seen, ServerChanged
from pgtop.core.server_change import ServerChange
from pgtop.core.sql_words import SQL_WORDS
from pgtop.core.stalled_logins import Stall
from pgtop.core.text import plural, printable


class NameKind(StrEnum):
    """The kinds of names. Equal names of one kind get equal names; the value begins them."""

    APPLICATION = "app"
    USER = "user"
    DATABASE = "database"
    HOST = "host"
    OPERATOR = "operator"
    IDENTIFIER = "name"
    """A table, a column or a function in a statement."""


_KEPT: Final = {
    NameKind.APPLICATION: frozenset(
        {
            "pg_dump",
            "pg_dumpall",
            "pg_restore",
            "pg_basebackup",
            "pg_receivewal",
            "pg_cron",
            "pgbench",
            "vacuumdb",
            "reindexdb",
            "PostgreSQL JDBC Driver",
        }
    ),
    NameKind.USER: frozenset({"postgres"}),
    NameKind.DATABASE: frozenset({"postgres", "template0", "template1"}),
    NameKind.HOST: frozenset({"localhost", "/var/run/postgresql", "/run/postgresql", "/tmp"}),  # noqa: S108
}
"""The names that every server may have: they tell nothing."""
_BACKUPS: Final = re.compile(r"patroni|pgbackrest|barman|wal-g|repmgr", re.IGNORECASE)
"""The beginning of the applications that are protected by default."""
_FACES: Final = frozenset(
    {"dashboard", "reap", "daemon", "snapshot", "diagnose", "doctor", "break-glass", "api", "rescue"}
)
_WORD: Final = re.compile(r'"(?:[^"]|"")*(?:"|\Z)|[^\W\d][\w$]*')
_NOT_ASCII: Final = re.compile(r"[^ -~]")
_CHANGES: Final = {
    ServerChange.ALIEN: "ANOTHER DATABASE CLUSTER answers now",
    ServerChange.PROMOTED: "the server was promoted: it is a primary now",
    ServerChange.REPLACED: "ANOTHER SERVER answers now",
    ServerChange.RESTARTED: "the server was restarted",
}
_OUTAGES: Final = {
    OutageKind.FULL: "no slot is left",
    OutageKind.LIMIT: "a CONNECTION LIMIT is reached",
    OutageKind.STARTING: "the server takes no logins at the moment",
    OutageKind.UNREACHABLE: "the server cannot be reached",
    OutageKind.REFUSED: "the login was refused",
    OutageKind.LOST: "the connection was lost",
    OutageKind.TIMEOUT: "the server did not answer in time",
    OutageKind.FAILED: "the poll failed",
    OutageKind.SILENT: "the server has not answered yet",
}


class Scrubber:
    """Replaces names in the values of a recording, consistently for as long as it lives."""

    def __init__(self) -> None:
        self._names: dict[NameKind, dict[str, str]] = {kind: {} for kind in NameKind}
        self._codes: dict[str, str] = {}
        self._numbered: Counter[str] = Counter()
        self._addresses: dict[str, str] = {}
        self._clusters: dict[str, str] = {}
        self._statements: dict[str, str] = {}
        self._sessions: dict[BackendId, tuple[Backend, Backend]] = {}

    # Names

    def name(self, kind: NameKind, name: str) -> str:
        """Return the name that stands for a name; "" stays "".

        >>> scrubber = Scrubber()
        >>> [scrubber.name(NameKind.APPLICATION, each) for each in ("web", "job-17", "job-18", "psql")]
        ['app-a', 'app-b-1', 'app-b-2', 'psql']
        """
        if not name or name in _KEPT.get(kind, ()):
            return name
        known = self._names[kind]
        if name not in known:
            known[name] = self._application(name) if kind is NameKind.APPLICATION else self._new(kind, name)
        return known[name]

    def _new(self, kind: NameKind, name: str) -> str:
        number = len(self._names[kind])
        if kind is NameKind.USER and (known := MONITORING.search(name)) is not None:
            return f"{known[0]}-{_letters(number)}"
        if kind is NameKind.HOST:
            if _is_address(name):
                return self.address(name)
            if name.startswith(("/", "@")):
                return f"/{kind.value}-{_letters(number)}"
        joint = "_" if kind is NameKind.IDENTIFIER else "-"
        return f"{kind.value}{joint}{_letters(number)}"

    def _application(self, name: str) -> str:
        """Return a new application's name. Names that differ in a number alone go on doing so."""
        if name.startswith(PGTOP_PREFIX):
            face, at, host = name.removeprefix(PGTOP_PREFIX).partition("@")
            if face in _FACES:
                return f"{PGTOP_PREFIX}{face}{at}{self.name(NameKind.HOST, host)}"
        before = f"{NameKind.APPLICATION.value}-"
        if name.startswith(PGTOP_PREFIX):
            before = PGTOP_PREFIX
        elif (known := TOOLS.match(name) or _BACKUPS.match(name)) is not None:
            if known[0] == name:
                return name
            before = f"{known[0]} "
        elif (known := MONITORING.search(name)) is not None:
            before = f"{known[0]}-"
        stem = NUMBER.sub("…", name)
        code = self._codes.setdefault(stem, _letters(len(self._codes)))
        if stem == name:
            return f"{before}{code}"
        self._numbered[stem] += 1
        return f"{before}{code}-{self._numbered[stem]}"

    def address(self, address: str) -> str:
        """Return the address that stands for one, of those that are set aside for tests and examples.

        >>> scrubber = Scrubber()
        >>> [scrubber.address(each) for each in ("10.0.4.7", "fe80::1", "127.0.0.1", "10.0.4.7")]
        ['198.18.0.1', '2001:db8::2', '127.0.0.1', '198.18.0.1']
        """
        if not _is_address(address):
            return self.name(NameKind.HOST, address)
        given = ip_address(address.partition("%")[0].partition("/")[0])
        if given.is_loopback:
            return str(given)
        if address not in self._addresses:
            number = len(self._addresses) + 1
            base: IPv4Address | IPv6Address
            base = IPv4Address("198.18.0.0") if given.version == 4 else IPv6Address("2001:db8::")
            self._addresses[address] = str(base + number)
        return self._addresses[address]

    def statement(self, query: str) -> str:
        """Return a statement's fingerprint, with other identifiers.

        >>> Scrubber().statement("SELECT count(*) FROM jobs WHERE jobs.owner = 'ann'")
        'SELECT count(*) FROM name_a WHERE name_a.owner = ?'
        """
        plain = fingerprint(query)
        if plain not in self._statements:
            self._statements[plain] = _NOT_ASCII.sub("?", _WORD.sub(self._identifier, plain))
        return self._statements[plain]

    def _identifier(self, found: re.Match[str]) -> str:
        word = found[0]
        return word if word.upper() in SQL_WORDS else self.name(NameKind.IDENTIFIER, word)

    def text(self, text: str) -> str:
        """Return a text with other names in place of those that were met before.

        It is meant for short texts of pgtop's own about a snapshot that was scrubbed before; a name that was
        not met stays.
        """
        known = {
            form: new
            for names in (*self._names.values(), self._addresses, self._statements)
            for old, new in names.items()
            for form in (old, printable(old))
            if form and form != new
        }
        if not known:
            return text
        longest_first = sorted(known, key=len, reverse=True)
        either = "|".join(re.escape(each) for each in longest_first)
        return re.sub(rf"(?<!\w)(?:{either})(?!\w)", lambda found: known[found[0]], text)

    # Polls

    def seen(self, seen: Seen) -> Seen:
        """Return a poll with other names."""
        result = seen.result
        return msgspec.structs.replace(
            seen,
            result=self.snapshot(result) if isinstance(result, Snapshot) else self.outage(result),
            facts=self.facts(seen.facts),
        )

    def snapshot(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot with other names."""
        server = self.server(snapshot.server)
        sessions = {each.id: self._session(each) for each in snapshot.backends}
        backends = tuple(each for _, each in sessions.values())
        if len(backends) != len(snapshot.backends):  # two of one identity, as a broken view may show
            backends = tuple(self._session(each)[1] for each in snapshot.backends)
        self._sessions = sessions
        return msgspec.structs.replace(
            snapshot,
            server=server,
            privileges=self._privileges(snapshot.privileges),
            backends=backends,
            connection_limits=tuple(map(self._limit, snapshot.connection_limits)),
        )

    def server(self, server: Server) -> Server:
        """Return a server with another host and another system identifier."""
        cluster = server.identity.system_identifier
        if cluster is not None:
            cluster = self._clusters.setdefault(cluster, str(len(self._clusters) + 1))
        identity = msgspec.structs.replace(server.identity, system_identifier=cluster)
        return msgspec.structs.replace(server, host=self.name(NameKind.HOST, server.host), identity=identity)

    def facts(self, facts: Facts) -> Facts:
        """Return facts with other addresses."""
        stall = facts.stall
        if stall is None:
            return facts
        addresses = tuple((self.address(name), number) for name, number in stall.addresses)
        return msgspec.structs.replace(
            facts, stall=Stall(stall.connecting, stall.sessions, stall.slots, addresses)
        )

    def outage(self, outage: Outage) -> Outage:
        """Return an outage with a sentence that names nothing."""
        said = outage.limit.value if outage.limit is not None else _OUTAGES[outage.kind]
        return msgspec.structs.replace(outage, message=said, rescue_problem="")

    def _session(self, backend: Backend) -> tuple[Backend, Backend]:
        known = self._sessions.get(backend.id)
        if known is not None and (known[0] is backend or known[0] == backend):
            return known
        return backend, msgspec.structs.replace(
            backend,
            application_name=_some(
                lambda name: self.name(NameKind.APPLICATION, name), backend.application_name
            ),
            usename=_some(self._user, backend.usename),
            datname=_some(self._database, backend.datname),
            client_addr=_some(self.address, backend.client_addr),
            query=_some(self.statement, backend.query),
            readings=tuple((self._user(user), self._database(name)) for user, name in backend.readings),
        )

    def _privileges(self, privileges: Privileges) -> Privileges:
        return msgspec.structs.replace(privileges, role=self._user(privileges.role))

    def _limit(self, limit: ConnectionLimit) -> ConnectionLimit:
        renamed = self._user if limit.of is LimitOf.ROLE else self._database
        return msgspec.structs.replace(limit, name=renamed(limit.name))

    def _user(self, name: str) -> str:
        return self.name(NameKind.USER, name)

    def _database(self, name: str) -> str:
        return self.name(NameKind.DATABASE, name)

    # Events

    def event(self, event: Event) -> Event:
        """Return an event with other names; findings keep their figures, and a sentence of few words."""
        match event:
            case Acted():
                applications = tuple(
                    (self.name(NameKind.APPLICATION, name), number) for name, number in event.applications
                )
                operator = self.name(NameKind.OPERATOR, event.operator)
                return msgspec.structs.replace(event, operator=operator, applications=applications)
            case Diagnosed():
                return Diagnosed(event.at, tuple(map(self.finding, event.findings)))
            case ServerChanged():
                return msgspec.structs.replace(event, sentence=_CHANGES[event.change])
            case OutageBegan():
                return msgspec.structs.replace(event, outage=self.outage(event.outage))
            case _:
                return event

    def finding(self, finding: Finding) -> Finding:
        """Return a finding with other names, and without what only sentences tell."""
        bare = msgspec.structs.replace(
            finding,
            application_name=_some(
                lambda name: self.name(NameKind.APPLICATION, name), finding.application_name
            ),
            usename=_some(self._user, finding.usename),
            datname=_some(self._database, finding.datname),
            addresses=tuple((self.address(name), number) for name, number in finding.addresses),
            forecast_words="",
            evidence=(),
            statements=(),
            advice=(),
            remedy=None,
        )
        said = f"{cause_words(bare)}: {plural(bare.slots, 'slot')}"
        return msgspec.structs.replace(bare, sentence=said)


def _some(renamed: Callable[[str], str], name: str | None) -> str | None:
    return None if name is None else renamed(name)


def _letters(number: int) -> str:
    """Return a number as letters: no digits, since names that differ in a number are one program's.

    >>> [_letters(each) for each in (0, 25, 26, 701, 702)]
    ['a', 'z', 'aa', 'zz', 'aaa']
    """
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0].partition("/")[0])
    except ValueError:
        return False
    return True
