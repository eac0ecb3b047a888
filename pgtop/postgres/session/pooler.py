"""Statements through a pooler: each in a read-only transaction of its own, whose settings are set first.

A pooler may give each statement to another backend, which has the settings of its database and its role, and
what earlier clients left behind. Worse, the driver prepares and executes in two steps: in between a pooler
may change the backend, which then executes what another client has prepared there. Within a transaction the
backend stays the same.
Source: PgBouncer documentation, pool_mode; asyncpg, coreproto.pyx (a Sync after Parse, another after Bind).
"""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from pgtop.postgres.session.login import Connection

_READ_COMMITTED: Final = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE"

T = TypeVar("T")


async def is_pooled(connection: "Connection") -> bool:
    """Return True where a pooler answers: the backend is not the one whose pid the login was told.

    One message of the simple protocol, which no pooler can split. Raises what the driver raises.
    """
    pid = int(connection.get_server_pid())
    # Serializable may be the default, which a standby refuses, or deferrable, which waits for all who write.
    asked = f"{_READ_COMMITTED}; SELECT 1 WHERE pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {pid}"
    return await connection.execute(asked) != "SELECT 1"


async def in_transaction(
    connection: "Connection", begin: str, ask: "Callable[[Connection], Coroutine[Any, Any, T]]"
) -> T:
    """Return what `ask` returns, asked in a transaction that `begin` begins; it is rolled back at the end.

    Raises what the driver raises, also where a pooler lets no transaction begin.
    """
    await connection.execute(begin)
    try:
        answer = await ask(connection)
    except Exception:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("ROLLBACK")
    return answer
