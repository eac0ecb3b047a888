"""The checks of free connections: the server's slots, the CONNECTION LIMITs, and the reserved connections."""

from typing import Final

from pgtop.core.doctor.checkup import Checkup, Role, Use
from pgtop.core.doctor.findings import KEPT, LOOK_WHO, Finding, Status, on_primary, set_on_server
from pgtop.core.doctor.remedies import Identifier, comment, lines
from pgtop.core.text import percent, plural

_SHOWN: Final = 5
_ROOM: Final = 3
"""The number of connections by which a remedy raises a limit at least."""


def room_findings(checkup: Checkup, warn_at: float) -> tuple[Finding, ...]:
    """Return the findings of all checks in this module.

    From `warn_at` on, a fraction, the use of slots or of a limit is a warning.
    """
    return (
        server_finding(checkup),
        slots_finding(checkup, warn_at),
        reserve_finding(checkup),
        privileged_finding(checkup),
        role_finding(checkup),
        database_finding(checkup),
        role_limits_finding(checkup, warn_at),
    )


def server_finding(checkup: Checkup) -> Finding:
    """Report the server's version, and the roles it can reserve connections for."""
    server = checkup.server
    kind = "standby" if server.identity.in_recovery else "primary"
    can = "superusers and pg_use_reserved_connections" if server.version_num >= 160_000 else "superusers only"
    return Finding("server", "ok", f"PostgreSQL {server.version}, {kind}; reserved connections are for {can}")


def slots_finding(checkup: Checkup, warn_at: float) -> Finding:
    """Check the use of the server's ordinary slots, and report that of its reserved connections."""
    limits, snapshot = checkup.server.limits, checkup.snapshot
    kept = limits.max_connections - limits.slots
    slots = plural(limits.slots, "slot")
    of = f"of {limits.max_connections} connections"
    if snapshot is None:
        return Finding("slots", "warn", f"{slots}, their use hidden; {kept} more {of} reserved")
    use, total = checkup.use, snapshot.counts.total
    share = ("≤ " if use.is_bound else "") + percent(snapshot.usage)
    said = f"{use} of {slots} in use ({share}); {kept} more {of} reserved"
    if snapshot.usage < warn_at:
        return Finding("slots", "ok", said)
    if total > limits.slots and not use.is_bound:
        said += f", and {min(total - limits.slots, kept)} of those in use"
    # The number may be an upper bound: the server is then not necessarily full.
    status: Status = "bad" if total >= limits.slots and not use.is_bound else "warn"
    return Finding("slots", status, said, comment(LOOK_WHO))


def reserve_finding(checkup: Checkup) -> Finding:
    """Check that connections are reserved for superusers."""
    limits = checkup.server.limits
    topic, kept = "superuser_reserved_connections", limits.superuser_reserved_connections
    if kept:
        return Finding(topic, "ok", f"{plural(kept, 'slot')} reserved for superusers")
    mend = set_on_server(checkup, {topic: KEPT}, restart=True)
    if limits.reserved_connections:
        return Finding(topic, "warn", "0: superusers share reserved_connections", mend)
    return Finding(topic, "bad", "0: when the server is full no one can connect, not even superusers", mend)


def privileged_finding(checkup: Checkup) -> Finding:
    """Check for other sessions that may take the reserved connections.

    Only a superuser can terminate a superuser's session.
    """
    if checkup.snapshot is None:
        return Finding("privileged", "warn", "hidden: whether applications can take reserved connections")
    superusers, others = checkup.of_superusers, checkup.of_reserved
    kept = checkup.server.limits.max_connections - checkup.server.limits.slots
    who = []
    if superusers:
        may_end = "" if checkup.account.acts_as_superuser else " (which only superusers may terminate)"
        who.append(f"{plural(superusers, 'session')} of superusers{may_end}")
    if others:
        who.append(f"{plural(others, 'session')} of other roles with pg_use_reserved_connections")
    if not who:
        return Finding("privileged", "ok", "no session but pgtop's can take reserved connections")
    said = f"{' and '.join(who)} can take reserved connections"
    if superusers + others <= kept:
        return Finding("privileged", "ok", said)
    mend = comment("let applications log in as ordinary roles, without such privileges")
    return Finding("privileged", "warn", said, mend, bars_login=True)


def role_finding(checkup: Checkup) -> Finding:
    """Check this role's CONNECTION LIMIT and its use."""
    account = checkup.account
    use = checkup.use_by(account.login)
    return _own_limit(checkup, "role", account.login, account.login_limit, use)


def database_finding(checkup: Checkup) -> Finding:
    """Check this database's CONNECTION LIMIT and its use; a low one refuses before the server is full."""
    account = checkup.account
    limit, slots = account.database_limit, checkup.server.limits.slots
    found = _own_limit(checkup, "database", account.database, limit, checkup.use_of_database)
    if found.status != "ok" or account.is_superuser or not 0 <= limit < slots:
        return found
    said = f"{found.said}: without room there, log in to another database"
    mend = comment("log in to a database without a limit, such as -d postgres")
    return Finding("database", "warn", said, mend, bars_login=True)


def _own_limit(checkup: Checkup, topic: str, name: Identifier, limit: int, use: Use) -> Finding:
    """Check one CONNECTION LIMIT. The checkup's own session counts, and has ended by the next login."""
    owner = f"{topic} {name.shown}"
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
    mend = _raised(checkup, topic, name, use.number, limit)
    if use.is_bound:
        return Finding(topic, "warn", f"{said}: perhaps all", mend, bars_login=True)
    if use.number == limit:
        return Finding(topic, "warn", f"{said}: this check has the last one", mend, bars_login=True)
    return Finding(topic, "bad", f"{said}: the next connection is refused", mend, bars_login=True)


def _raised(checkup: Checkup, topic: str, name: Identifier, used: int, limit: int) -> str:
    if not name.is_exact:
        return comment("raise its CONNECTION LIMIT; its name is not valid text")
    altered = f"ALTER {topic.upper()} {name.sql} CONNECTION LIMIT {max(2 * used, limit + _ROOM)};"
    return lines(on_primary(checkup), altered)


def role_limits_finding(checkup: Checkup, warn_at: float) -> Finding:
    """Check the CONNECTION LIMITs of other roles with sessions. Superusers are not subject to theirs."""
    if checkup.snapshot is None:
        return Finding("role_limits", "warn", "the use of other roles' CONNECTION LIMITs is hidden")
    own = checkup.account.login.name
    limited = [
        role
        for role in checkup.account.roles
        if role.connection_limit >= 0 and not role.is_superuser and role.identifier.name != own
    ]
    limited.sort(key=lambda role: -_share(checkup, role))
    if not limited:
        return Finding("role_limits", "ok", _without_sessions(checkup))
    near = [role for role in limited if _share(checkup, role) >= warn_at]
    said = ", ".join(
        f"{role.identifier.shown} {checkup.use_by(role.identifier)} of {role.connection_limit}"
        for role in limited[:_SHOWN]
    )
    if len(limited) > _SHOWN:
        said += f", and {len(limited) - _SHOWN} more"
    if not near:
        return Finding("role_limits", "ok", f"CONNECTION LIMITs in use: {said}")
    mend = lines(*(_raised_of(checkup, role) for role in near[:_SHOWN]))
    return Finding("role_limits", "warn", f"CONNECTION LIMITs nearly used up: {said}", mend)


def _without_sessions(checkup: Checkup) -> str:
    account = checkup.account
    others = account.limited_roles - (account.login_limit >= 0 and not account.is_superuser)
    if others <= 0:
        return "no other role has a CONNECTION LIMIT"
    return f"{plural(others, 'other role')} with a CONNECTION LIMIT, without sessions"


def _share(checkup: Checkup, role: Role) -> float:
    used = checkup.use_by(role.identifier).number
    return used / role.connection_limit if role.connection_limit else 1.0


def _raised_of(checkup: Checkup, role: Role) -> str:
    used = checkup.use_by(role.identifier).number
    return _raised(checkup, "role", role.identifier, used, role.connection_limit)
