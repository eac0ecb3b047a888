"""The sessions that wait for locks, each with the pids that block it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pgtop.core.activity import MOST_CONNECTIONS, Pid
from pgtop.postgres.queries.backend_detail import BLOCKERS
from pgtop.postgres.row_decoding import MARGIN, typed
from pgtop.postgres.session.own_connection import OwnConnection

PidsText = Annotated[str, Meta(pattern=r"^\{([0-9]{1,10}(,[0-9]{1,10})*)?\}\Z")]
"""An array of process ids in its text form: `{11,12}`."""


class _Waiting(msgspec.Struct, frozen=True):
    pid: Pid
    blocked_by: PidsText


async def blocking_pids(own_connection: OwnConnection) -> dict[int, frozenset[int]]:
    """Return the pids that block each waiting session, right now; 0 stands for a prepared transaction.

    Raises as `OwnConnection.fetch` does.
    """
    rows = await own_connection.fetch(BLOCKERS, on_demand=True)
    return {row.pid: pids_of(row.blocked_by) for row in typed(rows, _Waiting, MOST_CONNECTIONS + MARGIN)}


def pids_of(array: str) -> frozenset[int]:
    """Return the pids of an array in its text form.

    >>> sorted(pids_of("{12,11,12}")), pids_of("{}")
    ([11, 12], frozenset())
    """
    return frozenset(int(each) for each in array[1:-1].split(",") if each)
