"""Logs in once and leaves at once: the only way to learn that logins are refused which no view shows."""

from typing import Final

import msgspec

from pgtop.core.refusal import Limit
from pgtop.errors import PgtopError
from pgtop.postgres.login import log_in, say_goodbye
from pgtop.postgres.outages import refusing_limit
from pgtop.postgres.seat import Seat

KNOCK_SECONDS: Final = 3.0
"""How long an answer is waited for."""

_GOODBYE_SECONDS: Final = 1.0


class Knock(msgspec.Struct, frozen=True):
    """What a login came to."""

    limit: Limit | None
    """Which of the server's limits refused it; None where it got in, or failed for another reason."""
    is_known: bool = True
    """False where it failed for another reason, a role's or a database's own limit among them."""


async def knock(seat: Seat) -> Knock:
    """What a login as the seat's ordinary role comes to; takes a slot for a few milliseconds.

    While the rescue role has the seat, the ordinary one is knocking already, to get it back.
    """
    if seat.is_rescue:
        return _knock(seat.refused, got_in=False)
    target = seat.target
    seconds = min(target.connect_timeout_seconds, KNOCK_SECONDS)
    try:
        session = await log_in(
            msgspec.structs.replace(target, connect_timeout_seconds=seconds),
            seat.application_name,
            knocks=True,
        )
    except PgtopError as error:
        return _knock(refusing_limit(error), got_in=False)
    await say_goodbye(session.connection, _GOODBYE_SECONDS)
    return _knock(None, got_in=True)


def _knock(limit: Limit | None, *, got_in: bool) -> Knock:
    if limit is not None and limit.is_the_servers:
        return Knock(limit)
    return Knock(None, is_known=got_in)
