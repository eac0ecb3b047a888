"""The face of `pgtop snapshot`: one poll of a server."""

from collections.abc import Callable

import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.outage import Limit, held_by_connecting
from pgtop.core.snapshot_json import SnapshotReport, snapshot_report
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS, answer_error
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.wait_for_slot import enter
from pgtop.postgres.snapshot_probe import Probe


class Look(msgspec.Struct, frozen=True):
    """One poll of a server, and the facts learnt while logging in."""

    snapshot: Snapshot
    pooled: bool = False
    """True if the connection goes through a pooler."""
    refused: Limit | None = None
    """The limit that refused the ordinary role, if the rescue role made the poll instead."""

    @property
    def connecting(self) -> int:
        """The number of slots held by clients still connecting, as far as the refused login tells."""
        return held_by_connecting(self.refused, self.snapshot.server.limits, self.snapshot.counts.total)


async def look(
    target: Target,
    wait_seconds: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
    *,
    hides_queries: bool = False,
) -> Look:
    """Poll the server once.

    `wait_seconds` and `tell` are those of `session.enter.enter`. It raises PgtopError: ConnectError also for
    a server that accepted the login and then did not answer.
    """
    own_connection = OwnConnection(target, "snapshot", hides_queries=hides_queries)
    await enter(own_connection, wait_seconds, tell)
    try:
        return Look(await Probe(own_connection).snapshot(), own_connection.pooled, own_connection.refused)
    except DRIVER_ERRORS as error:
        raise answer_error(error) from error
    finally:
        await own_connection.release()


def report(seen: Look, warn_at: float) -> SnapshotReport:
    """Return the report of a look."""
    return snapshot_report(seen.snapshot, warn_at, seen.connecting)
