"""Logs in once and leaves at once: the only way to learn that logins are refused which no view shows."""

import contextlib
from typing import Final

from pgtop.errors import FullError, PgtopError
from pgtop.postgres.faults import DRIVER_ERRORS
from pgtop.postgres.login import log_in
from pgtop.postgres.seat import Seat
from pgtop.postgres.target import Target

_GOODBYE_SECONDS: Final = 1.0


async def is_refused(target: Target, face: str) -> bool | None:
    """Whether a login is refused for want of a slot; None where it fails for another reason, or is too slow.

    Takes a slot for a few milliseconds.
    """
    try:
        session = await log_in(target, Seat(target, face).application_name)
    except FullError:
        return True
    except PgtopError:
        return None
    try:
        with contextlib.suppress(*DRIVER_ERRORS):
            await session.connection.close(timeout=_GOODBYE_SECONDS)
    finally:
        session.connection.terminate()
    return False
