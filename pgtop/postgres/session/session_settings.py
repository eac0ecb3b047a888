"""The settings that every session of pgtop begins with, or each of its transactions through a pooler.

A database's owner, and each role, can give another value to any setting that ordinary users may set: nothing
that pgtop relies on is left to them.
"""

from typing import Final

STATEMENT_TIMEOUT_SECONDS: Final = 9
"""The server's own limit for a statement of pgtop's."""

ON_DEMAND_SECONDS: Final = 2
"""The same for a question beside the polls, which wait for it: the one connection runs one statement at a
time."""

_EACH_STATEMENT: Final = {
    "search_path": "pg_catalog, pg_temp",  # pg_temp would come first if it were not named
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "0",
    "jit": "off",
    "client_min_messages": "error",
    "standard_conforming_strings": "on",
}

SETTINGS: Final = {
    **_EACH_STATEMENT,
    "idle_session_timeout": "0",
    "client_connection_check_interval": "2s",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "read committed",
    # A serializable, deferrable, read-only transaction waits until no other one writes.
    "default_transaction_deferrable": "off",
    "exit_on_error": "off",
}
"""By name, set once a session is logged in; one that a server does not know is done without."""

AT_LOGIN: Final = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    **{
        name: SETTINGS[name]
        for name in (
            "client_connection_check_interval",
            "client_min_messages",
            "exit_on_error",
        )
    },
    "local_preload_libraries": "",  # one that is not there would bar the login
}
"""By name, as a startup packet takes them: those without which the first statements might not come about.

Not the others: a login event trigger runs with what is set here, and fails where it cannot write, or cannot
find what it names without a schema. `transaction_timeout` is not among them, which older servers don't know.
"""


TRANSACTION_TIMEOUT: Final = "transaction_timeout"
"""End a session whose transaction takes longer, from TRANSACTION_TIMEOUT_VERSION on. An older server refuses
a login that names it, so it is set after the login, or at a second one where the first does not last."""
TRANSACTION_TIMEOUT_VERSION: Final = 17


def _no_role_of_the_database(is_local: str) -> str:
    """Take off the role that the database's owner set for all who log in there.

    By `ALTER DATABASE … SET role` its owner would choose as whom pgtop acts, and who is granted rights when
    they are missing. What ALTER ROLE says of the role that logs in stays.
    """
    return f"""
SELECT pg_catalog.set_config('role', 'none', {is_local})
WHERE CURRENT_USER OPERATOR(pg_catalog.<>) SESSION_USER
AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_db_role_setting s
  CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c(setting)
  WHERE s.setrole OPERATOR(pg_catalog.=)
        pg_catalog.to_regrole(pg_catalog.quote_ident(SESSION_USER))::pg_catalog.oid
    AND s.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, (
          SELECT a.datid FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a)])
    AND pg_catalog.starts_with(c.setting, 'role='))
"""  # noqa: S608 - of true and false alone


NO_ROLE_OF_THE_DATABASE: Final = _no_role_of_the_database("false")


def set_statement(name: str, value: str, scope: str = "SESSION") -> str:
    """Return the statement that sets this for the session, or for the transaction alone (`LOCAL`).

    >>> set_statement("lock_timeout", "2s")
    "SET SESSION lock_timeout = '2s'"
    """
    listed = value if name == "search_path" else f"'{value}'"
    return f"SET {scope} {name} = {listed}"


def _set_local(name: str, value: str) -> str:
    return set_statement(name, value, "LOCAL")


_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE"


def begin_limited(seconds: float) -> str:
    """Begin a transaction in a session of pgtop's own, each of whose statements may run for that long.

    >>> begin_limited(2)[-38:]
    "; SET LOCAL statement_timeout = '2000'"
    """
    return f"{_BEGIN}; {_set_local('statement_timeout', str(round(seconds * 1000)))}"


def begin_pooled(version: int, seconds: float | None = None) -> str:
    """Begin a transaction in which each statement is as safe as in a session of pgtop's own.

    One message of the simple protocol, for a server of that major version; nothing in it is looked up by a
    name that another user can take. Each of its statements may run for `seconds`, if given.
    """
    has_timeout = version >= TRANSACTION_TIMEOUT_VERSION
    return "; ".join(
        (
            _BEGIN,
            # A timer of the database's runs by now, which another limit would not stop, and none does.
            _set_local("statement_timeout", "0"),
            *((_set_local(TRANSACTION_TIMEOUT, "0"),) if has_timeout else ()),
            *(_set_local(name, value) for name, value in _EACH_STATEMENT.items()),
            *(() if seconds is None else (_set_local("statement_timeout", str(round(seconds * 1000))),)),
            _no_role_of_the_database("true").strip(),
        )
    )
