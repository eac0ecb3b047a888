"""The face of `pgtop doctor`: the checkup of the ordinary role and of the rescue role.

The structs are the schema of the JSON: their fields and the order of these are a contract.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from pgtop.core.doctor.checkup import Checkup
from pgtop.core.doctor.verdicts import Diagnosis, diagnose
from pgtop.core.stalled_logins import with_unlisted
from pgtop.errors import PgtopError
from pgtop.postgres.checkup import check_up, checkup_connection
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.errors.kinds import FullError, LimitReachedError, limit_at
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS, answer_error
from pgtop.postgres.session.wait_for_slot import enter

SCHEMA: Final = 1


class ServerReport(msgspec.Struct, frozen=True):
    """The server that was checked."""

    host: str
    port: int
    version_num: int
    in_recovery: bool
    slots: int


class FindingReport(msgspec.Struct, frozen=True):
    """The result of one check."""

    topic: str
    status: str
    said: str
    mend: str
    """The remedy: SQL and SQL comments, a line each; "" if none is needed."""


class Report(msgspec.Struct, frozen=True):
    """The whole result for one role."""

    schema: int
    server: ServerReport
    role: str
    database: str
    gets_in_at_full: bool
    gets_in_at_full_why: str
    may_reap: bool
    may_reap_why: str
    findings: tuple[FindingReport, ...]
    rescue: "Report | UnsetType" = UNSET
    """The same for the rescue role, if there is one."""
    refused: str | UnsetType = UNSET
    """The reason the ordinary role is refused at this moment. All other fields are then the rescue role's."""


class Examined(msgspec.Struct, frozen=True):
    """The facts of one role, and the diagnosis."""

    checkup: Checkup
    diagnosis: Diagnosis


class Examination(msgspec.Struct, frozen=True):
    """The results for the ordinary role and for the rescue role."""

    first: Examined
    """The result for the ordinary role, or for the rescue role if the ordinary one is refused."""
    rescue: Examined | None = None
    """The result for the rescue role, if `first` is the ordinary role's."""
    refused: str = ""
    """The reason the ordinary role's result is missing; "" if it is not."""

    @property
    def is_well(self) -> bool:
        """True if one of the roles can log in when no slot is left, and may then terminate sessions."""
        return any(each is not None and each.diagnosis.is_well for each in (self.first, self.rescue))


async def examine(
    target: Target, warn_at: float, wait_seconds: float = 0.0, tell: Callable[[str], None] = lambda _: None
) -> Examination:
    """Examine a target and its rescue role, by one connection after the other. Each one is closed again.

    `wait_seconds` and `tell` are those of `session.enter.enter`. It raises PgtopError: FullError if the
    server has no slot left for either role, which answers the question.
    """
    ordinary = replace(target, rescue=None)
    try:
        first = await _examine(ordinary, warn_at, 0.0 if target.rescue else wait_seconds, tell)
    except (FullError, LimitReachedError) as error:
        if target.rescue is None:
            raise
        rescue = await _examine(target.rescue, warn_at, wait_seconds, tell, refused=error)
        return Examination(rescue, refused=error.problem)
    if target.rescue is None:
        return Examination(first)
    return Examination(first, await _examine(target.rescue, warn_at, wait_seconds, tell))


async def _examine(
    target: Target,
    warn_at: float,
    wait_seconds: float,
    tell: Callable[[str], None],
    *,
    refused: PgtopError | None = None,
) -> Examined:
    """Examine one role; `refused` is the refusal of another one, which tells of slots that no list shows."""
    own_connection = checkup_connection(target)
    await enter(own_connection, wait_seconds, tell)
    try:
        checkup = await check_up(own_connection)
        limit = limit_at(own_connection.peer, refused) if refused is not None else None
        if limit is not None and checkup.snapshot is not None and await own_connection.is_direct():
            checkup = replace(checkup, snapshot=with_unlisted(checkup.snapshot, limit))
    except DRIVER_ERRORS as error:
        raise answer_error(error) from error
    finally:
        await own_connection.release()
    return Examined(checkup, diagnose(checkup, warn_at))


def report(examination: Examination) -> Report:
    """Return the report of an examination."""
    rescue = examination.rescue
    return replace(
        _report(examination.first),
        rescue=UNSET if rescue is None else _report(rescue),
        refused=examination.refused or UNSET,
    )


def _report(examined: Examined) -> Report:
    checkup, diagnosis = examined.checkup, examined.diagnosis
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
