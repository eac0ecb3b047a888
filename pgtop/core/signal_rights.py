"""The sessions that the server lets pgtop's role terminate, and the grants that let it terminate more.

A superuser's session takes a superuser; any other takes the privileges of its role, or of pg_signal_backend.
A member that does not inherit has neither. All versions from 14 on ask for the same.
Source: PostgreSQL, pg_signal_backend() in src/backend/storage/ipc/signalfuncs.c.
"""

from collections.abc import Iterable
from typing import Final

from pgtop.core.activity import Backend, Privileges, Snapshot
from pgtop.core.plan import Act, Spared, SparedFor
from pgtop.core.session_labels import NO_USER, grant, inheriting_grant, label, monitor_grant
from pgtop.core.session_patterns import Patterns
from pgtop.core.text import plural, printable

_FUNCTIONS: Final = {
    Act.TERMINATE: "pg_terminate_backend(integer, bigint)",
    Act.CANCEL: "pg_cancel_backend(integer)",
}
SIGNAL_GROUP: Final = "pg_signal_backend"


def forbidden(backend: Backend, act: Act, privileges: Privileges) -> Spared | None:
    """Return the reason that the server would refuse to signal this backend; None if it would not.

    It comes after all other reasons: what is skipped for it is what a grant makes room for.
    """
    role = printable(privileges.role)
    if not _may_call(act, privileges):
        reason = f"role {role} may not call {_FUNCTIONS[act].partition('(')[0]}"
    elif not privileges.may_end(backend):
        object_of = "sessions" if act is Act.TERMINATE else "queries"
        reason = f"role {role} may not {act} {object_of} of {label(backend.usename, NO_USER)}"
    else:
        return None
    return Spared(backend, SparedFor.FORBIDDEN, reason)


def permission_sentence(snapshot: Snapshot, backends: Iterable[Backend], act: Act = Act.TERMINATE) -> str:
    """Return the number of sessions that pgtop's role may not end, with every grant that helps; "" for none.

    `backends` are those that `forbidden` gives a reason for. The sentence is printable.
    """
    lacking = tuple(backends)
    if not lacking:
        return ""
    role, number = printable(snapshot.privileges.role), len(lacking)
    ended = plural(number, "session") if act is Act.TERMINATE else plural(number, "query", "queries")
    needed = " ".join(signal_grants(snapshot, lacking, act))
    return f"role {role} may not {act} {ended}. Run: {needed}"


def powerless_sentence(snapshot: Snapshot, only: Patterns) -> str:
    """Return what keeps pgtop's role from terminating any session that a sweep considers; "" if nothing does.

    `only` are a sweep's filters. Superusers' sessions do not count. The sentence is printable.
    """
    considered = [
        each
        for each in snapshot.backends
        if not (each.is_superuser or each.is_pgtop or each.is_hidden) and only.admit(each)
    ]
    lacking = [each for each in considered if forbidden(each, Act.TERMINATE, snapshot.privileges)]
    return permission_sentence(snapshot, lacking) if len(lacking) == len(considered) else ""


def signal_grants(
    snapshot: Snapshot, backends: Iterable[Backend], act: Act = Act.TERMINATE
) -> tuple[str, ...]:
    """Return the statements that let pgtop's role end these sessions, printable.

    None helps with those of superusers.
    """
    privileges = snapshot.privileges
    grants = []
    if not _may_call(act, privileges):
        grants.append(grant(f"EXECUTE ON FUNCTION pg_catalog.{_FUNCTIONS[act]}", privileges.role))
    if any(not (each.is_superuser or privileges.may_end(each)) for each in backends):
        grants.append(inheriting_grant(snapshot, SIGNAL_GROUP, inherits=privileges.inherits_signal))
    return tuple(grants)


def reaping_grants(snapshot: Snapshot) -> str:
    """Return the statements that let pgtop's role see all states and terminate those sessions, printable.

    Whoever grants the one should not have to come back for the other.
    """
    hidden = [each for each in snapshot.backends if each.is_hidden]
    return " ".join(dict.fromkeys([monitor_grant(snapshot), *signal_grants(snapshot, hidden)]))


def _may_call(act: Act, privileges: Privileges) -> bool:
    return privileges.may_call_terminate if act is Act.TERMINATE else privileges.may_call_cancel
