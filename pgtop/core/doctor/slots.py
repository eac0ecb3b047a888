"""The checks of free connections: the server's slots and the reserved connections."""

from pgtop.core.doctor.checkup import Checkup
from pgtop.core.doctor.findings import KEPT, LOOK_WHO, Finding, Status, set_on_server
from pgtop.core.doctor.limits import limit_findings
from pgtop.core.doctor.remedies import comment
from pgtop.core.outage import connecting_words
from pgtop.core.stalled_logins import STALL_HELP, session_count
from pgtop.core.text import percent, plural


def room_findings(checkup: Checkup, warn_at: float) -> tuple[Finding, ...]:
    """Return the findings of all checks in this module.

    From `warn_at` on, a fraction, the use of slots or of a limit is a warning.
    """
    return (
        server_finding(checkup),
        slots_finding(checkup, warn_at),
        reserve_finding(checkup),
        privileged_finding(checkup),
        *limit_findings(checkup, warn_at),
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
    taken, is_bound = snapshot.taken, checkup.use.is_bound
    bound = "≤ " if is_bound else ""
    said = f"{bound}{taken} of {slots} in use ({bound}{percent(snapshot.usage)}); {kept} more {of} reserved"
    if taken > limits.slots and not is_bound:
        said += f", and {min(taken - limits.slots, kept)} of those in use"
    if snapshot.unlisted:
        said += f"; {connecting_words(snapshot.unlisted)}"
    if snapshot.usage < warn_at:
        return Finding("slots", "ok", said)
    # The number may be an upper bound: the server is then not necessarily full.
    status: Status = "bad" if snapshot.is_full and not is_bound else "warn"
    # Where the sessions alone are below the line, no reap helps.
    is_stalled = session_count(snapshot) < warn_at * limits.slots
    return Finding("slots", status, said, comment(STALL_HELP if is_stalled else LOOK_WHO))


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
