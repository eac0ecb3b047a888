"""Log in once and leave at once: the only way to learn that logins are refused which no view shows."""

from typing import Final

import msgspec

from pgtop.core.outage import Limit
from pgtop.errors import PgtopError
from pgtop.postgres.errors.kinds import limit_at
from pgtop.postgres.session.login import log_in, say_goodbye
from pgtop.postgres.session.own_connection import OwnConnection

KNOCK_SECONDS: Final = 3.0
"""Seconds to wait for an answer."""

_GOODBYE_SECONDS: Final = 1.0


class LoginProbe(msgspec.Struct, frozen=True):
    """The result of a login."""

    limit: Limit | None
    """The limit of the server that refused the login; None if it succeeded or failed for another reason."""
    is_known: bool = True
    """False where it failed before the server looked for a slot, or for another reason, a role's own limit
    among them."""


async def probe_login(own_connection: OwnConnection) -> LoginProbe:
    """Try a login as the ordinary role and return its result; takes a slot for a few milliseconds.

    It goes to the server that pgtop is connected to, since a target may name several. While the rescue role
    has the connection, the ordinary role is already knocking, to get it back.
    """
    if own_connection.is_rescue:
        return _knock(own_connection.refused, got_in=False)
    target, peer = own_connection.here, own_connection.peer
    refused: Limit | None = None
    got_in = False
    try:
        session = await log_in(
            target.within(KNOCK_SECONDS),
            own_connection.application_name,
            knocks=True,
        )
    except PgtopError as error:
        refused = limit_at(peer, error)
    else:
        got_in = True
        await say_goodbye(session.connection, _GOODBYE_SECONDS)
    if peer != own_connection.peer:  # pgtop is connected to another server by now
        return LoginProbe(None, is_known=False)
    return _knock(refused, got_in=got_in)


def _knock(limit: Limit | None, *, got_in: bool) -> LoginProbe:
    if limit is not None and limit.is_the_servers:
        return LoginProbe(limit)
    # A role's limit is looked at before the reserved slots, a database's after them: that login had found a
    # slot. Source: PostgreSQL, InitPostgres() in src/backend/utils/init/postinit.c, the same from 14 to 18:
    # InitializeSessionUserId() comes before the check of the slots, and CheckMyDatabase() last.
    return LoginProbe(None, is_known=got_in or limit is Limit.DATABASE)
