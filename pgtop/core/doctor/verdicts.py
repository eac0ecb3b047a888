"""The verdicts on a checkup: can this role log in when no ordinary slot is left, and terminate sessions then?

The other checks are in `slots.py` (limits and sessions) and `server_settings.py`.
"""

from typing import Final

import msgspec

from pgtop.core.doctor.checkup import Checkup, Membership, Right
from pgtop.core.doctor.findings import KEPT, LOOK_WHO, Finding, Status, on_primary, set_on_server
from pgtop.core.doctor.remedies import Identifier, comment, granted, lines
from pgtop.core.doctor.server_settings import setting_findings
from pgtop.core.doctor.slots import room_findings
from pgtop.core.session_labels import TRACK_STATES
from pgtop.core.text import plural

RESERVED_GROUP: Final = "pg_use_reserved_connections"

_ASKS_FOR_PRIVILEGES: Final = 150_000
"""The first version that shows states only to roles with the privileges of pg_read_all_stats.

PostgreSQL 14 shows them to every member, also one that does not inherit.
Source: HAS_PGSTAT_PERMISSIONS in src/backend/utils/adt/pgstatfuncs.c.
"""
_COSTS: Final = {
    "pg_roles": "CONNECTION LIMITs of roles",
    "pg_database": "CONNECTION LIMITs of databases",
    "pg_db_role_setting": "settings that databases have of their own",
    "pg_show_all_settings": "all server settings",
    "pg_cancel_backend": "cancelling queries",
    "pg_blocking_pids": "which session blocks which",
}
"""The checks and details that each right is for."""

_DIRECTLY: Final = comment("connect to the server itself: its own host and port, with -h and -p")


class Verdict(msgspec.Struct, frozen=True):
    """A yes or no, with the reason."""

    yes: bool
    why: str
    """The reason in one sentence, safe to print."""
    topics: tuple[str, ...] = ()
    """The topics of the findings that make it a no."""


class Diagnosis(msgspec.Struct, frozen=True):
    """The whole result of a checkup."""

    gets_in_at_full: Verdict
    may_reap: Verdict
    findings: tuple[Finding, ...]

    @property
    def is_well(self) -> bool:
        """True if both verdicts are yes."""
        return self.gets_in_at_full.yes and self.may_reap.yes


def diagnose(checkup: Checkup, warn_at: float) -> Diagnosis:
    """Judge a checkup: the two verdicts, and the finding of each check. `warn_at` is the line, a fraction."""
    pooler, login = pooler_finding(checkup), login_finding(checkup)
    able = (pooler, rights_finding(checkup), sight_finding(checkup), signal_finding(checkup))
    optional = optional_rights_finding(checkup)
    rooms = room_findings(checkup, warn_at)
    barred = [each for each in (pooler, login, *rooms) if each.status == "bad" and each.bars_login]
    unable = [each for each in able if each.status == "bad"]
    return Diagnosis(
        gets_in_at_full=_verdict(barred, _conditions(login, rooms)),
        may_reap=_verdict(unable, able[-1].said),
        findings=(login, *able, optional, *rooms, *setting_findings(checkup)),
    )


def _verdict(against: list[Finding], otherwise: str) -> Verdict:
    if not against:
        return Verdict(True, otherwise)
    return Verdict(False, against[0].said, tuple(each.topic for each in against))


def _conditions(login: Finding, rooms: tuple[Finding, ...]) -> str:
    """Return the reason the role can log in, with the limits that may still refuse it."""
    may_bar = [each.said for each in rooms if each.status == "warn" and each.bars_login]
    return "; but ".join((login.said, *may_bar))


def pooler_finding(checkup: Checkup) -> Finding:
    """Check that the server itself answers, not a pooler."""
    if not checkup.pooled:
        return Finding("pooler", "ok", "direct connection, no pooler")
    said = (
        "connected through a pooler: its pool decides who can connect, and nothing is terminated through it"
    )
    return Finding("pooler", "bad", said, _DIRECTLY, bars_login=True)


def login_finding(checkup: Checkup) -> Finding:
    """Check that a connection is reserved for this role when no ordinary slot is left.

    The role that logs in counts, not the one it acts as afterwards; and its privileges count, not its
    memberships. Source: PostgreSQL, InitPostgres() in src/backend/utils/init/postinit.c.
    """
    account, limits = checkup.account, checkup.server.limits
    role, reserved = account.login.shown, limits.reserved_connections
    if account.is_superuser:
        kept = limits.superuser_reserved_connections + reserved
        if kept:
            said = f"{plural(kept, 'slot')} reserved for superusers; role {role} is one"
            return _entry(checkup, said, limits.max_connections)
        mend = set_on_server(checkup, {"superuser_reserved_connections": KEPT}, restart=True)
        return _login("bad", f"role {role} is a superuser, but no slot is reserved for superusers", mend)
    provided = limits.provider_reserved_connections
    if provided and account.provider is not None and account.provider.has_privileges:
        return _login("ok", f"{plural(provided, 'slot')} reserved for rds_superuser, as the provider says")
    if account.reserved is None:
        return _login(
            "bad",
            f"role {role} is not a superuser, and before PostgreSQL 16 only superusers have reserved slots",
            comment("log in as a superuser, or keep pgtop open: it keeps its connection"),
        )
    if account.reserved.has_privileges and reserved:
        said = f"{plural(reserved, 'slot')} reserved for {RESERVED_GROUP}, which role {role} may use"
        return _entry(checkup, said, limits.max_connections - limits.superuser_reserved_connections)
    return _nothing_kept(checkup, account.reserved)


def _entry(checkup: Checkup, said: str, room: int) -> Finding:
    """Return the finding for a role that can be one of `room` sessions.

    The checkup's own session is one of them, and has ended by the next login.
    """
    snapshot = checkup.snapshot
    if snapshot is None or not snapshot.counts.exact or snapshot.taken < room:
        return _login("ok", said)
    return _login("warn", f"{said}; none is free, and this check has the last one", comment(LOOK_WHO))


def _login(status: Status, said: str, mend: str = "") -> Finding:
    return Finding("login", status, said, mend, bars_login=True)


def _nothing_kept(checkup: Checkup, membership: Membership) -> Finding:
    """Return the finding for PostgreSQL 16 and later if the privilege is missing, or the slots, or both."""
    account = checkup.account
    problems, mends = [], []
    if not membership.has_privileges:
        without = "does not inherit" if membership.is_member else "does not have"
        problems.append(f"role {account.login.shown} {without} the privileges of {RESERVED_GROUP}")
        mends.append(_grant(checkup, RESERVED_GROUP, account.login, membership, account.login_inherits))
    if not checkup.server.limits.reserved_connections:
        problems.append("reserved_connections is 0, so no slot is reserved for such roles")
        mends.append(set_on_server(checkup, {"reserved_connections": KEPT}, restart=True))
    return _login("bad", ", and ".join(problems), lines(*mends))


def _grant(
    checkup: Checkup, group: str, role: Identifier, membership: Membership, inherits: bool | None
) -> str:
    if not role.is_exact:
        return comment(f"GRANT {group} to this role, whose name is not valid text")
    # A membership without privileges stays so if it is granted again in the same way.
    plainly = bool(inherits) and not membership.is_member
    version = checkup.server.version_num
    return lines(on_primary(checkup), granted(group, role, version_num=version, inherits=plainly))


def rights_finding(checkup: Checkup) -> Finding:
    """Check that this role may use all functions and views pgtop needs: a service may have revoked some."""
    account, role = checkup.account, checkup.account.acting
    needed = [each for each in account.missing if each.is_needed]
    if not needed:
        return Finding("rights", "ok", f"role {role.shown} may use all functions and views that pgtop needs")
    said = f"role {role.shown} may not use {', '.join(each.name for each in needed)}"
    return Finding("rights", "bad", said, _granted_rights(checkup, needed))


def optional_rights_finding(checkup: Checkup) -> Finding:
    """Check that this role may read all that the checks and the details on screen are made from."""
    role = checkup.account.acting
    lacking = [each for each in checkup.account.missing if not each.is_needed]
    if not lacking:
        return Finding("optional_rights", "ok", f"role {role.shown} may read all that the checks need")
    names = ", ".join(each.short for each in lacking)
    costs = [_COSTS[each.short] for each in lacking if each.short in _COSTS]
    said = f"role {role.shown} may not use {names}; so left out: {', '.join(costs)}"
    return Finding("optional_rights", "warn", said, _granted_rights(checkup, lacking))


def _granted_rights(checkup: Checkup, rights: list[Right]) -> str:
    role = checkup.account.acting
    if not role.is_exact:
        return comment("GRANT it to this role, whose name is not valid text")
    grants = (f"GRANT {each.privilege} ON {each.name} TO {role.sql};" for each in rights)
    return lines(on_primary(checkup), *grants)


def sight_finding(checkup: Checkup) -> Finding:
    """Check that this role sees the states of all sessions."""
    account, snapshot = checkup.account, checkup.snapshot
    needs_privileges = checkup.server.version_num >= _ASKS_FOR_PRIVILEGES
    sees = account.sight.has_privileges or (account.sight.is_member and not needs_privileges)
    if sees and snapshot is not None and snapshot.counts.disabled:
        said = f"{plural(snapshot.counts.disabled, 'session')} without a state: track_activities is off"
        where = comment("ALTER ROLE and ALTER DATABASE may have set it off, too")
        return Finding("sight", "bad", said, lines(on_primary(checkup), *TRACK_STATES, where))
    if sees:
        return Finding("sight", "ok", f"role {account.acting.shown} sees the states of all sessions")
    said = f"the states of other roles' sessions are hidden from role {account.acting.shown}"
    mend = _grant(checkup, "pg_monitor", account.acting, account.sight, account.acting_inherits)
    return Finding("sight", "bad", said, mend)


def signal_finding(checkup: Checkup) -> Finding:
    """Check that this role may terminate other roles' sessions. Those of superusers need a superuser."""
    account = checkup.account
    role = account.acting.shown
    if account.acts_as_superuser:
        return Finding("signal", "ok", f"role {role} may terminate every session")
    if not account.signal.has_privileges:
        said = f"role {role} may terminate only sessions of itself and of roles it is a member of"
        mend = _grant(checkup, "pg_signal_backend", account.acting, account.signal, account.acting_inherits)
        return Finding("signal", "bad", said, mend)
    return Finding("signal", "ok", f"role {role} may terminate the sessions of all roles but superusers")
