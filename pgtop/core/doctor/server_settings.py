"""The checks of server settings that free unused slots, of overrides by role, and of unnamed sessions."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from pgtop.core.doctor.checkup import Account, Checkup, Override, Role, Setting
from pgtop.core.doctor.findings import Finding, on_primary, set_on_server
from pgtop.core.doctor.remedies import comment, lines, literal
from pgtop.core.plan import DEFAULT_PROTECTED_APPLICATIONS
from pgtop.core.session_labels import NO_DATABASE, NO_USER, label
from pgtop.core.session_patterns import Patterns
from pgtop.core.text import clip, plural, printable, span

_LONGEST_AUTHENTICATION_SECONDS: Final = 60
_LONGEST_DEAD_SECONDS: Final = 15 * 60
_SYSTEMS_OWN: Final = "2h 11m on Linux"
_OF_DATABASE: Final = "database"
_OF_ALL_ROLES: Final = "global"
"""The name of ALTER ROLE ALL as a source in `pg_settings`."""
_SHOWN: Final = 5
_LONGEST_SHOWN: Final = 60
_UNTOLD: Final = "hidden by the server"
_HIDDEN: Final = "the value for other roles is hidden"
_PREVENTS: Final = "setting it only affects sessions that become idle later"
_IDLE_FOR: Final = "1h"
_ELSEWHERE: Final = comment("check again as a role without such a setting")


def setting_findings(checkup: Checkup) -> tuple[Finding, ...]:
    """Return the findings of all checks in this module."""
    return (
        idle_session_finding(checkup),
        idle_in_transaction_finding(checkup),
        keepalives_finding(checkup),
        check_interval_finding(checkup),
        authentication_finding(checkup),
        overrides_finding(checkup),
        names_finding(checkup),
    )


def idle_session_finding(checkup: Checkup) -> Finding:
    """Check that idle sessions time out: on the whole server, or for each role that applications use.

    The remedy sets the timeout for each such role. Set for the server, it would terminate a backup's
    sessions, which are idle for hours.
    """
    topic = "idle_session_timeout"
    off = f"off: idle sessions stay forever ({_PREVENTS})"
    found = _timeout(checkup, topic, off, "terminates sessions idle for longer than", _IDLE_FOR)
    setting = checkup.setting.get(topic)
    if found.status == "ok" or setting is None:
        return found
    if not setting.is_own and {"pg_db_role_setting", "pg_roles"} <= checkup.account.withdrawn:
        said = f"off for the server, and what roles have of their own is hidden ({_PREVENTS})"
        return Finding(topic, "warn", said, found.mend)
    roles = _roles_of_applications(checkup)
    exposed = [role for role in roles if not role.ends_idle_sessions]
    if roles and not exposed:
        return Finding(topic, "ok", "set for every role that applications use")
    if setting.is_own:
        return found
    if not roles:
        careful = comment("for each application's role instead, where a backup's sessions are idle for hours")
        return msgspec.structs.replace(found, mend=lines(careful, found.mend))
    names = [role.identifier.shown for role in exposed[:_SHOWN]]
    more = f" and {len(exposed) - _SHOWN} more" if len(exposed) > _SHOWN else ""
    said = f"off: idle sessions of {', '.join(names)}{more} stay forever ({_PREVENTS})"
    others = _not_named_as_a_backups(checkup)
    alter = []
    for role in exposed[:_SHOWN]:
        statement = f"ALTER ROLE {role.identifier.sql} SET {topic} = '{_IDLE_FOR}';"
        if role.identifier.name not in others:  # pasted unchanged, the SQL must not terminate a real backup
            statement = comment(f"unless its sessions are a backup's, as they call themselves: {statement}")
        if role.identifier.is_exact:
            alter.append(statement)
    return Finding(topic, "warn", said, lines(on_primary(checkup), *alter))


def _roles_of_applications(checkup: Checkup) -> list[Role]:
    """Return the roles of all sessions but pgtop's and superusers', those with the most sessions first.

    The application's name does not matter: a client chooses it, and could hide its role with it.
    """
    counts = Counter(
        backend.usename
        for backend in checkup.backends
        if not (checkup.is_own(backend) or backend.is_superuser)
    )
    return [
        checkup.role[name] for name, _ in counts.most_common() if name is not None and name in checkup.role
    ]


def _not_named_as_a_backups(checkup: Checkup) -> set[str | None]:
    """Return the roles that have a session whose application is not protected by default."""
    protected = Patterns(applications=DEFAULT_PROTECTED_APPLICATIONS)
    return {
        backend.usename
        for backend in checkup.backends
        if not (checkup.is_own(backend) or protected.protecting(backend))
    }


def idle_in_transaction_finding(checkup: Checkup) -> Finding:
    """Check that sessions idle in transaction time out."""
    return _timeout(
        checkup,
        "idle_in_transaction_session_timeout",
        "off: sessions idle in transaction stay forever, and so do their locks",
        "terminates sessions idle in transaction for longer than",
        "10min",
    )


def check_interval_finding(checkup: Checkup) -> Finding:
    """Check that the server notices a lost client while it runs a statement."""
    return _timeout(
        checkup,
        "client_connection_check_interval",
        "off: a lost client is noticed only when its query ends",
        "a client lost during a query is noticed within",
        "10s",
    )


def _timeout(checkup: Checkup, topic: str, off: str, on: str, mend: str) -> Finding:
    setting = checkup.setting.get(topic)
    if setting is None:
        return Finding(topic, "warn", _UNTOLD)
    if setting.is_own:
        return Finding(topic, "warn", f"{_age(setting.seconds)} for this role: {_HIDDEN}", _ELSEWHERE)
    where = " (in this database)" if setting.source == _OF_DATABASE else ""
    if setting.value > 0:
        return Finding(topic, "ok", f"{on} {_age(setting.seconds)}{where}")
    return Finding(topic, "warn", off + where, _set(checkup, {setting: f"'{mend}'"}))


def _set(checkup: Checkup, values: Mapping[Setting, str]) -> str:
    """Return the statements that set `values` where they take effect.

    A value set for the database or for all roles takes precedence over the server's.
    """
    database = checkup.account.database
    owners = {_OF_DATABASE: f"DATABASE {database.sql}", _OF_ALL_ROLES: "ROLE ALL"}
    own = [
        f"ALTER {owners[each.source]} SET {each.name} = {value};"
        for each, value in values.items()
        if each.source in owners
    ]
    general = {each.name: value for each, value in values.items() if each.source not in owners}
    if not database.is_exact and any(each.source == _OF_DATABASE for each in values):
        return comment("ALTER DATABASE … SET it; its name is not valid text")
    return lines(on_primary(checkup) if own else "", *own, set_on_server(checkup, general))


def _age(seconds: float) -> str:
    """Return a setting's duration; `0` if it is off."""
    if seconds <= 0:
        return "0"
    return span(seconds) if seconds >= 1 else f"{round(seconds * 1000)}ms"


def keepalives_finding(checkup: Checkup) -> Finding:
    """Check how long a dead client holds its slot: the keepalive's idle time, and then all of its probes."""
    topic = "tcp_keepalives"
    found = [checkup.setting.get(f"{topic}_{each}") for each in ("idle", "interval", "count")]
    idle, interval, count = found
    if idle is None or interval is None or count is None:
        return Finding(topic, "warn", _UNTOLD)
    if idle.is_own or interval.is_own or count.is_own:
        return Finding(topic, "warn", f"this role has its own: {_HIDDEN}", _ELSEWHERE)
    mend = _set(checkup, {idle: "60", interval: "10", count: "6"})
    if checkup.account.over_socket and not (idle.value and interval.value and count.value):
        said = f"system default: a dead client holds its slot for {_SYSTEMS_OWN}"
        return Finding(topic, "warn", said, mend)
    if checkup.account.over_socket:
        seconds = idle.value + interval.value * count.value
    else:
        seconds = idle.effective + interval.effective * count.effective
    said = f"a client whose machine is lost holds its slot for {span(seconds)}"
    return (
        Finding(topic, "ok", said) if seconds <= _LONGEST_DEAD_SECONDS else Finding(topic, "warn", said, mend)
    )


def authentication_finding(checkup: Checkup) -> Finding:
    """Check how long a stalled login holds a slot, a reserved one included."""
    topic = "authentication_timeout"
    setting = checkup.setting.get(topic)
    if setting is None:
        return Finding(topic, "warn", _UNTOLD)
    said = f"a stalled login holds a slot, even a reserved one, for {_age(setting.seconds)}"
    if setting.seconds <= _LONGEST_AUTHENTICATION_SECONDS:
        return Finding(topic, "ok", said)
    return Finding(topic, "warn", said, set_on_server(checkup, {topic: "'1min'"}))


def overrides_finding(checkup: Checkup) -> Finding:
    """List the timeouts and keepalives that are set for roles and databases."""
    account = checkup.account
    if "pg_db_role_setting" in account.withdrawn:
        return _readable_overrides(checkup)
    if not account.overrides:
        return Finding("own_settings", "ok", "no role or database has timeouts or keepalives of its own")
    return Finding("own_settings", "ok", _listed(account))


def _readable_overrides(checkup: Checkup) -> Finding:
    """Return the finding where pg_db_role_setting may not be read; pg_roles has the settings of roles."""
    account = checkup.account
    if "pg_roles" in account.withdrawn:
        said = "what roles and databases have of their own is hidden"
    elif account.overrides:
        said = f"{_listed(account)}; what databases have is hidden"
    else:
        said = "no role has timeouts or keepalives of its own; what databases have is hidden"
    return Finding("own_settings", "warn", said)


def _listed(account: Account) -> str:
    shown = [_override(each) for each in account.overrides[:_SHOWN]]
    more = account.overrides_in_all - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def _override(override: Override) -> str:
    """Return an override's owner and value.

    >>> _override(Override("app", "shop", "statement_timeout=30s"))
    'role app in database shop: statement_timeout=30s'
    """
    owners = []
    if override.role is not None:
        owners.append(f"role {printable(override.role)}")
    if override.database is not None:
        owners.append(f"database {printable(override.database)}")
    return f"{' in '.join(owners) or 'all roles'}: {clip(printable(override.setting), _LONGEST_SHOWN)}"


def names_finding(checkup: Checkup) -> Finding:
    """Check that all sessions have an application_name, so that the cause of a full server can be seen."""
    topic = "application_name"
    if checkup.snapshot is None:
        return Finding(topic, "warn", "hidden: whether sessions have an application name")
    unnamed = [each for each in checkup.backends if each.usename is not None and not each.application_name]
    if not unnamed:
        return Finding(topic, "ok", "every session has an application name")
    groups = Counter((each.usename, each.datname, each.client_addr) for each in unnamed)
    shown = [
        f"{number} of {label(user, NO_USER)} in {label(database, NO_DATABASE)}"
        + (f" from {printable(address)}" if address else "")
        for (user, database, address), number in groups.most_common(_SHOWN)
    ]
    more = f", and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
    said = f"{plural(len(unnamed), 'session')} without an application name: {', '.join(shown)}{more}"
    return Finding(topic, "warn", said, _naming(checkup, [user for (user, _, _), _ in groups.most_common()]))


def _naming(checkup: Checkup, users: list[str | None]) -> str:
    """Return the remedy that names each role's future sessions, for applications that set no name."""
    roles = [checkup.role[user] for user in dict.fromkeys(users) if user is not None and user in checkup.role]
    return lines(
        comment("better: application_name=… in each application's own conninfo"),
        on_primary(checkup),
        *(
            f"ALTER ROLE {role.identifier.sql} SET application_name = {literal(role.identifier.name)};"
            for role in roles[:_SHOWN]
            if role.identifier.is_exact
        ),
    )
