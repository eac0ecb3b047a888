"""The checks of CONNECTION LIMITs: of this role and this database, and of all others that have sessions.

A limit that is used up is rarely too low: more often something leaks. So a remedy first says which sessions
hold it. It raises the limit only if most of them are in use, and by no more than fits under the server's own
line; otherwise it shows the lower limit that keeps the one that leaks from taking more.
"""

import math
import shlex
from collections import Counter
from typing import Final, NamedTuple

from pgtop.core.activity import IDLE, Backend
from pgtop.core.doctor.checkup import Checkup, Use
from pgtop.core.doctor.findings import Finding, look_who, on_primary
from pgtop.core.doctor.remedies import Identifier, comment, lines
from pgtop.core.session_labels import NO_APPLICATION, label
from pgtop.core.text import plural

_SHOWN: Final = 5
_MEMBERS_SHOWN: Final = 3
_ROOM: Final = 3
"""The number of connections by which a remedy raises a limit, if that fits under the line."""


class _Limited(NamedTuple):
    """A role or a database with a CONNECTION LIMIT, and the sessions that count against it."""

    kind: str
    """`role` or `database`."""
    identifier: Identifier
    limit: int
    backends: tuple[Backend, ...]

    @property
    def use(self) -> Use:
        return Use(len(self.backends), any(backend.is_hidden for backend in self.backends))

    @property
    def share(self) -> float:
        return len(self.backends) / self.limit if self.limit else 1.0


def limit_findings(checkup: Checkup, warn_at: float) -> tuple[Finding, ...]:
    """Return the findings of all checks in this module.

    From `warn_at` on, a fraction, the use of another role's or database's limit is a warning, and a limit is
    not raised beyond that fraction of the server's slots.
    """
    return (
        role_finding(checkup, warn_at),
        database_finding(checkup, warn_at),
        role_limits_finding(checkup, warn_at),
        database_limits_finding(checkup, warn_at),
    )


def role_finding(checkup: Checkup, warn_at: float) -> Finding:
    """Check this role's CONNECTION LIMIT and its use."""
    account = checkup.account
    if account.login_limit is None:
        return _hidden("role", account.login)
    return _own_limit(checkup, warn_at, _role(checkup, account.login, account.login_limit))


def database_finding(checkup: Checkup, warn_at: float) -> Finding:
    """Check this database's CONNECTION LIMIT and its use; a low one refuses before the server is full."""
    account = checkup.account
    limit, slots = account.database_limit, checkup.server.limits.slots
    if limit is None:
        return _hidden("database", account.database)
    found = _own_limit(checkup, warn_at, _database(checkup, account.database, limit))
    if found.status != "ok" or account.is_superuser or not 0 <= limit < slots:
        return found
    said = f"{found.said}: without room there, log in to another database"
    mend = comment("log in to a database without a limit, such as -d postgres")
    return Finding("database", "warn", said, mend, bars_login=True)


def _hidden(kind: str, identifier: Identifier) -> Finding:
    said = f"{kind} {identifier.shown}: its CONNECTION LIMIT, if any, is hidden"
    return Finding(kind, "warn", said, bars_login=True)


def _role(checkup: Checkup, role: Identifier, limit: int) -> _Limited:
    there = tuple(backend for backend in checkup.backends if backend.usename == role.name)
    return _Limited("role", role, limit, there)


def _database(checkup: Checkup, database: Identifier, limit: int) -> _Limited:
    there = tuple(backend for backend in checkup.backends if backend.datname == database.name)
    return _Limited("database", database, limit, there)


def _own_limit(checkup: Checkup, warn_at: float, limited: _Limited) -> Finding:
    """Check one CONNECTION LIMIT. The checkup's own session counts, and has ended by the next login."""
    topic, limit, use = limited.kind, limited.limit, limited.use
    owner = f"{topic} {limited.identifier.shown}"
    if limit < 0:
        return Finding(topic, "ok", f"{owner} has no CONNECTION LIMIT", bars_login=True)
    if checkup.snapshot is None:
        said = f"{owner} has a CONNECTION LIMIT of {limit}, and its use is hidden"
        return Finding(topic, "warn", said, bars_login=True)
    said = f"{owner}: {use} of {limit} used (CONNECTION LIMIT)"
    if checkup.account.is_superuser:
        return Finding(topic, "ok", f"{said}; superusers are exempt", bars_login=True)
    if use.number < limit:
        return Finding(topic, "ok", said, bars_login=True)
    mend = _mend(checkup, warn_at, limited)
    if use.is_bound:
        return Finding(topic, "warn", f"{said}: perhaps all", mend, bars_login=True)
    if use.number == limit:
        return Finding(topic, "warn", f"{said}: this check has the last one", mend, bars_login=True)
    return Finding(topic, "bad", f"{said}: the next connection is refused", mend, bars_login=True)


def role_limits_finding(checkup: Checkup, warn_at: float) -> Finding:
    """Check the CONNECTION LIMITs of other roles with sessions. Superusers are not subject to theirs."""
    account = checkup.account
    limited = [
        _role(checkup, role.identifier, role.connection_limit)
        for role in account.roles
        if role.connection_limit is not None
        and role.connection_limit >= 0
        and not role.is_superuser
        and role.identifier.name != account.login.name
    ]
    if account.limited_roles is None or account.login_limit is None:
        return Finding("role_limits", "warn", "the CONNECTION LIMITs of other roles are hidden")
    others = account.limited_roles - (account.login_limit >= 0 and not account.is_superuser)
    return _other_limits(checkup, warn_at, limited, others)


def database_limits_finding(checkup: Checkup, warn_at: float) -> Finding:
    """Check the CONNECTION LIMITs of other databases with sessions."""
    account = checkup.account
    limited = [
        _database(checkup, database.identifier, database.connection_limit)
        for database in account.databases
        if database.identifier.name != account.database.name
    ]
    if account.limited_databases is None or account.database_limit is None:
        return Finding("database_limits", "warn", "the CONNECTION LIMITs of other databases are hidden")
    others = account.limited_databases - (account.database_limit >= 0)
    return _other_limits(checkup, warn_at, limited, others, "database")


def _other_limits(
    checkup: Checkup, warn_at: float, limited: list[_Limited], in_all: int, kind: str = "role"
) -> Finding:
    topic = f"{kind}_limits"
    if checkup.snapshot is None:
        return Finding(topic, "warn", f"the use of other {kind}s' CONNECTION LIMITs is hidden")
    if not limited:
        without = f"{plural(in_all, f'other {kind}')} with a CONNECTION LIMIT, without sessions"
        return Finding(topic, "ok", without if in_all > 0 else f"no other {kind} has a CONNECTION LIMIT")
    limited.sort(key=lambda each: -each.share)
    near = [each for each in limited if each.share >= warn_at]
    said = ", ".join(f"{each.identifier.shown} {each.use} of {each.limit}" for each in limited[:_SHOWN])
    if len(limited) > _SHOWN:
        said += f", and {len(limited) - _SHOWN} more"
    if not near:
        return Finding(topic, "ok", f"CONNECTION LIMITs in use: {said}")
    mend = lines(*(_mend(checkup, warn_at, each) for each in near[:_SHOWN]))
    return Finding(topic, "warn", f"CONNECTION LIMITs nearly used up: {said}", mend)


# Remedies


def _mend(checkup: Checkup, warn_at: float, limited: _Limited) -> str:
    """Return the remedy for a limit that is nearly used up."""
    shown = limited.identifier.shown if limited.identifier.is_exact else "with a name that is not valid text"
    name = f"{limited.kind} {shown}"
    held = [comment(f"{name} is held by {_holders(limited)}")] if limited.backends else []
    if not limited.identifier.is_exact:
        return lines(*held, comment("raise or lower its CONNECTION LIMIT; its name is not valid text"))
    if limited.use.is_bound:
        return lines(*held, comment("whether they are in use is hidden: find out before the limit is raised"))
    if sum(backend.state == IDLE for backend in limited.backends) > len(limited.backends) / 2:
        fence = _fence(checkup, limited)
        return lines(
            *held,
            comment(f"most are idle: find out why before the limit is raised; {_look(limited)}"),
            comment(f"a lower limit keeps a leak from taking more: {fence}") if fence else "",
        )
    fits = _most_under_the_line(checkup, warn_at, limited)
    if fits <= limited.limit:
        return lines(*held, comment("do not raise the limit: the server has no room for more under its line"))
    raised = min(limited.limit + _ROOM, fits)
    altered = f"ALTER {limited.kind.upper()} {limited.identifier.sql} CONNECTION LIMIT {raised};"
    return lines(*held, on_primary(checkup), altered)


def _look(limited: _Limited) -> str:
    """Return the command that shows which of its sessions may be terminated, whatever the usage."""
    option = "--user" if limited.kind == "role" else "--database"
    return look_who(f"--always {option} {shlex.quote(limited.identifier.shown)}")


def _holders(limited: _Limited) -> str:
    """Name the applications with the most sessions: `leaky 24 (22 idle), web 3`."""
    totals = Counter(backend.application_name for backend in limited.backends)
    idle = Counter(backend.application_name for backend in limited.backends if backend.state == IDLE)
    named = [
        f"{label(name, NO_APPLICATION)} {number}{f' ({idle[name]} idle)' if idle[name] else ''}"
        for name, number in totals.most_common(_MEMBERS_SHOWN)
    ]
    if len(totals) > _MEMBERS_SHOWN:
        named.append(f"{len(totals) - _MEMBERS_SHOWN} more")
    return ", ".join(named)


def _most_under_the_line(checkup: Checkup, warn_at: float, limited: _Limited) -> int:
    """Return the largest limit that, used up, keeps the server below its line."""
    connecting = checkup.snapshot.unlisted if checkup.snapshot is not None else 0
    others = len(checkup.backends) + connecting - len(limited.backends)
    return math.ceil(warn_at * checkup.server.limits.slots) - 1 - others


def _fence(checkup: Checkup, limited: _Limited) -> str:
    """Return a lower limit for the role with the most idle sessions; "" if there is nothing to lower."""
    idle = Counter(backend.usename for backend in limited.backends if backend.state == IDLE)
    name = max(idle, key=idle.__getitem__)
    role = checkup.role.get(name or "")
    if role is None or role.is_superuser or not role.identifier.is_exact:
        return ""
    there = _role(checkup, role.identifier, 0).backends
    lower = sum(backend.state != IDLE for backend in there) + _ROOM
    return f"ALTER ROLE {role.identifier.sql} CONNECTION LIMIT {lower};" if lower < len(there) else ""
