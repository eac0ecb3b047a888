"""Judges the server settings that free what nobody uses, those that roles have of their own, and sessions
that do not say whose they are.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from pgtop.core.doctor.checkup import Checkup, Override, Role, Setting
from pgtop.core.doctor.findings import Finding, on_primary, set_on_server
from pgtop.core.doctor.remedies import comment, lines, literal
from pgtop.core.labels import NO_DATABASE, NO_USER, label
from pgtop.core.patterns import Patterns
from pgtop.core.plan import DEFAULT_PROTECTED_APPLICATIONS
from pgtop.core.text import clip, duration, plural, printable

_LONGEST_AUTHENTICATION_SECONDS: Final = 60
_LONGEST_DEAD_SECONDS: Final = 15 * 60
_SYSTEMS_OWN: Final = "2h 11m on Linux"
_OF_DATABASE: Final = "database"
_OF_ALL_ROLES: Final = "global"
"""What `pg_settings` calls the source of ALTER ROLE ALL."""
_SHOWN: Final = 5
_LONGEST_SHOWN: Final = 60
_UNTOLD: Final = "hidden by the server"
_HIDDEN: Final = "the value for other roles is hidden"
_PREVENTS: Final = "setting it only affects sessions that become idle later"
_IDLE_FOR: Final = "1h"
_ELSEWHERE: Final = comment("check again as a role without such a setting")


def setting_findings(checkup: Checkup) -> tuple[Finding, ...]:
    """All of them."""
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
    """Whether idle sessions end by themselves: for the server, or for each role that applications log in as.

    The mend is one for each such role: set for all, it ends a backup's sessions, which are idle for hours.
    """
    topic = "idle_session_timeout"
    off = f"off: idle sessions stay forever ({_PREVENTS})"
    found = _timeout(checkup, topic, off, "terminates sessions idle for longer than", _IDLE_FOR)
    setting = checkup.setting.get(topic)
    if found.status == "ok" or setting is None:
        return found
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
        if role.identifier.name not in others:  # what is pasted as it stands shall end no real backup
            statement = comment(f"unless its sessions are a backup's, as they call themselves: {statement}")
        if role.identifier.is_exact:
            alter.append(statement)
    return Finding(topic, "warn", said, lines(on_primary(checkup), *alter))


def _roles_of_applications(checkup: Checkup) -> list[Role]:
    """The roles of sessions that are neither pgtop's nor superusers', those with the most sessions first.

    Whatever their application's name is: with one that a client chooses, it could hide its role from view.
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
    """The roles that have a session whose application's name is not protected by default."""
    protected = Patterns(applications=DEFAULT_PROTECTED_APPLICATIONS)
    return {
        backend.usename
        for backend in checkup.backends
        if not (checkup.is_own(backend) or protected.protecting(backend))
    }


def idle_in_transaction_finding(checkup: Checkup) -> Finding:
    """Whether the server ends sessions that are idle in transaction by itself."""
    return _timeout(
        checkup,
        "idle_in_transaction_session_timeout",
        "off: sessions idle in transaction stay forever, and so do their locks",
        "terminates sessions idle in transaction for longer than",
        "10min",
    )


def check_interval_finding(checkup: Checkup) -> Finding:
    """Whether the server notices during a statement that its client is gone."""
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
    """The statements that count: what a database, or all roles, have of their own beats the server's."""
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
    """A setting's duration; nought where it is off."""
    if seconds <= 0:
        return "0"
    return duration(seconds) if seconds >= 1 else f"{round(seconds * 1000)}ms"


def keepalives_finding(checkup: Checkup) -> Finding:
    """How long a client whose machine is gone holds its slot: the idle time, and then all of the probes."""
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
    said = f"a client whose machine is lost holds its slot for {duration(seconds)}"
    return (
        Finding(topic, "ok", said) if seconds <= _LONGEST_DEAD_SECONDS else Finding(topic, "warn", said, mend)
    )


def authentication_finding(checkup: Checkup) -> Finding:
    """How long a login that goes silent holds a slot, the kept ones included."""
    topic = "authentication_timeout"
    setting = checkup.setting.get(topic)
    if setting is None:
        return Finding(topic, "warn", _UNTOLD)
    said = f"a stalled login holds a slot, even a reserved one, for {_age(setting.seconds)}"
    if setting.seconds <= _LONGEST_AUTHENTICATION_SECONDS:
        return Finding(topic, "ok", said)
    return Finding(topic, "warn", said, set_on_server(checkup, {topic: "'1min'"}))


def overrides_finding(checkup: Checkup) -> Finding:
    """The timeouts and keepalives that roles and databases have of their own."""
    account = checkup.account
    if not account.overrides:
        return Finding("own_settings", "ok", "no role or database has timeouts or keepalives of its own")
    shown = [_override(each) for each in account.overrides[:_SHOWN]]
    more = account.overrides_in_all - len(shown)
    said = ", ".join(shown) + (f", and {more} more" if more else "")
    return Finding("own_settings", "ok", said)


def _override(override: Override) -> str:
    """Whose it is, and the value.

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
    """Sessions that do not say which application they belong to: nobody can tell who fills the server."""
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
    """A name for each role's next sessions, as long as its applications give none themselves."""
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
