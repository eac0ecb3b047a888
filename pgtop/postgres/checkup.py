"""Gather the facts of a checkup over one connection, in a few statements."""

import contextlib

import asyncpg
import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.doctor.checkup import OVERRIDES, SETTINGS, Account, Checkup, Right
from pgtop.core.server_encodings import UTF8
from pgtop.core.text import printable
from pgtop.errors import NotPermittedError, PgtopError
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.errors.network_and_driver import NOT_TEXT, missing_grant
from pgtop.postgres.queries.about_server import ABOUT_SERVER
from pgtop.postgres.queries.checkup import ACCOUNT, account_query
from pgtop.postgres.rights import missing_rights, unseen_sessions_error
from pgtop.postgres.row_decoding import MARGIN, decoded
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.snapshot_probe import Probe
from pgtop.postgres.terminate import SqlTerminator

_decoder = msgspec.json.Decoder(Account)


def checkup_connection(target: Target) -> OwnConnection:
    """A connection whose session has the settings that a checkup reads as an ordinary session gets them."""
    given = {name: value for name, value in target.server_settings.items() if name not in SETTINGS}
    plain = msgspec.structs.replace(target, server_settings=given)
    return OwnConnection(plain, "doctor", unset=frozenset(SETTINGS), marks_itself=False)


async def check_up(own_connection: OwnConnection) -> Checkup:
    """The facts of a connection that is held.

    Raises NotPermittedError where not even its own account may be asked for, and else what the connection
    raises.
    """
    probe = Probe(own_connection)
    try:
        server = await probe.server()
    except asyncpg.InsufficientPrivilegeError as error:
        raise await unseen_sessions_error(error, own_connection, ABOUT_SERVER) from error
    snapshot: Snapshot | None = None
    with contextlib.suppress(NotPermittedError):  # a finding of its own
        snapshot = await probe.snapshot()
    # Bytes that are not valid text name no role, and cannot be sent to a server of every encoding.
    backends = snapshot.backends if snapshot else ()
    asked = [each for each in backends if not each.is_not_text]
    roles = sorted({each.usename for each in asked if each.usename})
    databases = sorted({each.datname for each in asked if each.datname})
    missing = await missing_rights(own_connection)
    account = await _account(own_connection, roles, databases, server.limits.max_connections, missing)
    own = await _own(own_connection)
    return Checkup(server=server, account=account, snapshot=snapshot, pooled=own_connection.pooled, own=own)


async def _own(own_connection: OwnConnection) -> frozenset[int]:
    """The sessions of pgtop, as a plan tells them; none where the locks may not be looked at."""
    try:
        return (await SqlTerminator(own_connection).held_locks()).own
    except PgtopError as error:
        if not isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
            raise
        return frozenset()  # a finding of its own


async def _account(
    own_connection: OwnConnection,
    roles: list[str],
    databases: list[str],
    max_connections: int,
    missing: tuple[Right, ...],
) -> Account:
    asked = (list(SETTINGS), roles, list(OVERRIDES), databases)
    withdrawn = frozenset(each.short for each in missing)
    encoding = UTF8
    try:
        try:
            row = await own_connection.fetchrow(account_query(withdrawn), *asked)
        except NOT_TEXT:
            unconverted = account_query(withdrawn, unconverted=True)
            row = await own_connection.fetchrow(unconverted, *asked)
            encoding = own_connection.encoding
    except asyncpg.InsufficientPrivilegeError as error:
        raise NotPermittedError(
            f"role {printable(own_connection.role)} may not read the catalogs ({printable(str(error))})",
            f"as a superuser, run: {missing_grant(error, ACCOUNT, own_connection.role)}",
        ) from error
    # A role or a database that has sessions is two arrays; the settings and the overrides are a few more.
    found = decoded(row and row.get("account"), _decoder, 6 * (max_connections + MARGIN), encoding)
    return msgspec.structs.replace(found, missing=missing)
