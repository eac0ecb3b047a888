"""The rights that pgtop uses and its role lacks, all of them at once, and the error that names them."""

from collections.abc import Iterable

import asyncpg

from pgtop.core.doctor.checkup import Right
from pgtop.core.session_labels import grant
from pgtop.core.text import printable
from pgtop.errors import NotPermittedError
from pgtop.postgres.errors.network_and_driver import missing_grant
from pgtop.postgres.queries.checkup import MISSING_RIGHTS
from pgtop.postgres.row_decoding import typed
from pgtop.postgres.session.own_connection import OwnConnection

_MOST_RIGHTS = 100


async def missing_rights(own_connection: OwnConnection) -> tuple[Right, ...]:
    """Return the rights that the role of a held connection lacks. Raises what the connection raises."""
    rows = await own_connection.fetch(MISSING_RIGHTS)
    return tuple(typed(rows, Right, _MOST_RIGHTS))


async def unseen_sessions_error(
    error: asyncpg.InsufficientPrivilegeError, own_connection: OwnConnection, query: str
) -> NotPermittedError:
    """Return the error for sessions that the role may not see, with every grant that pgtop needs.

    `query` is the one that was refused. Raises what the connection raises.
    """
    role = own_connection.role
    needed = [each for each in await missing_rights(own_connection) if each.is_needed]
    statements = " ".join(grants(needed, role)) or missing_grant(error, query, role)
    return NotPermittedError(
        f"role {printable(role)} may not see the sessions ({printable(str(error))})",
        f"as a superuser, run: {statements}",
    )


def grants(rights: Iterable[Right], role: str) -> list[str]:
    """Return the statements that give a role these rights, printable."""
    return [grant(f"{each.privilege} ON {each.name}", role) for each in rights]
