"""Gathers the facts of a checkup on one seat, in a few statements."""

import contextlib

import asyncpg
import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.checkup import OVERRIDES, SETTINGS, Account, Checkup
from pgtop.core.text import printable
from pgtop.errors import NotPermittedError
from pgtop.postgres.checkup_query import ACCOUNT, ACCOUNT_UNCONVERTED
from pgtop.postgres.faults import NOT_TEXT
from pgtop.postgres.probe import Probe
from pgtop.postgres.seat import Seat
from pgtop.postgres.target import Target

_decoder = msgspec.json.Decoder(Account)


def checkup_seat(target: Target) -> Seat:
    """A seat whose session has the settings that a checkup reads as an ordinary session gets them."""
    given = {name: value for name, value in target.server_settings.items() if name not in SETTINGS}
    plain = msgspec.structs.replace(target, server_settings=given)
    return Seat(plain, "doctor", unset=frozenset(SETTINGS))


async def check_up(seat: Seat) -> Checkup:
    """The facts of a seat that is held.

    Raises NotPermittedError where not even the catalogs may be read, and else what the seat raises.
    """
    probe = Probe(seat)
    server = await probe.server()
    snapshot: Snapshot | None = None
    with contextlib.suppress(NotPermittedError):  # a finding of its own
        snapshot = await probe.snapshot()
    names = {backend.usename for backend in snapshot.backends if backend.usename} if snapshot else set()
    account = await _account(seat, sorted(names))
    return Checkup(server=server, account=account, snapshot=snapshot, pooled=seat.pooled)


async def _account(seat: Seat, names: list[str]) -> Account:
    asked = (list(SETTINGS), names, list(OVERRIDES))
    try:
        try:
            row = await seat.fetchrow(ACCOUNT, *asked)
        except NOT_TEXT:
            row = await seat.fetchrow(ACCOUNT_UNCONVERTED, *asked)
    except asyncpg.InsufficientPrivilegeError as error:
        raise NotPermittedError(
            f"role {printable(seat.target.user)} may not read the catalogs ({printable(str(error))})",
            "GRANT SELECT on that to it, which every role has unless it was revoked",
        ) from error
    assert row is not None  # noqa: S101 - a session has a role and a database
    return _decode(row["account"])


def _decode(raw: bytes) -> Account:
    """The answer, typed; bytes that are no UTF-8 become U+FFFD."""
    return _decoder.decode(raw.decode("utf-8", "replace").encode())
