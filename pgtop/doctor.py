"""The face of `pgtop doctor`: would this role get in when no slot is left, and could it then make room?

The structs are the JSON's schema: their fields and the order of them are a contract.
"""

from typing import Final

import msgspec

from pgtop.core.checkup import Checkup
from pgtop.core.doctor import Diagnosis, diagnose
from pgtop.postgres.checkup import check_up, checkup_seat
from pgtop.postgres.faults import DRIVER_ERRORS, answer_error
from pgtop.postgres.target import Target

SCHEMA: Final = 1


class ServerReport(msgspec.Struct, frozen=True):
    """Which server."""

    host: str
    port: int
    version_num: int
    in_recovery: bool
    slots: int


class FindingReport(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    topic: str
    status: str
    said: str
    mend: str
    """SQL and SQL comments, a line each; "" where nothing is to be mended."""


class Report(msgspec.Struct, frozen=True):
    """All that is to be said."""

    schema: int
    server: ServerReport
    role: str
    database: str
    gets_in_at_full: bool
    gets_in_at_full_why: str
    may_reap: bool
    may_reap_why: str
    findings: tuple[FindingReport, ...]


async def examine(target: Target, warn_at: float) -> tuple[Checkup, Diagnosis]:
    """The facts of one target, and what is to be said of them, by one connection that is given up again.

    Raises PgtopError: FullError where the server has no slot left for this role, which answers the question.
    """
    seat = checkup_seat(target)
    await seat.take()
    try:
        checkup = await check_up(seat)
    except DRIVER_ERRORS as error:
        raise answer_error(error) from error
    finally:
        await seat.release()
    return checkup, diagnose(checkup, warn_at)


def report(checkup: Checkup, diagnosis: Diagnosis) -> Report:
    """The same in the words of the JSON."""
    server = checkup.server
    return Report(
        schema=SCHEMA,
        server=ServerReport(
            host=server.host,
            port=server.port,
            version_num=server.version_num,
            in_recovery=server.identity.in_recovery,
            slots=server.limits.slots,
        ),
        role=checkup.account.login.name,
        database=checkup.account.database.name,
        gets_in_at_full=diagnosis.gets_in_at_full.yes,
        gets_in_at_full_why=diagnosis.gets_in_at_full.why,
        may_reap=diagnosis.may_reap.yes,
        may_reap_why=diagnosis.may_reap.why,
        findings=tuple(
            FindingReport(each.topic, each.status, each.said, each.mend) for each in diagnosis.findings
        ),
    )
