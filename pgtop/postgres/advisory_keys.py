"""The advisory keys by which one pgtop tells another: how one connection takes, gives back and sees them."""

import secrets
from typing import Final

import asyncpg
import msgspec

from pgtop.core.activity import MOST_CONNECTIONS, Moment, Name, Pid, Whole
from pgtop.core.leadership import Key
from pgtop.core.server_encodings import UTF8
from pgtop.core.text import printable
from pgtop.postgres.errors.network_and_driver import NOT_TEXT
from pgtop.postgres.queries import advisory_keys as queries
from pgtop.postgres.queries.advisory_keys import PROMISE_BITS, REAPER_CLASS, RULES_CLASS
from pgtop.postgres.row_decoding import MARGIN, decoded
from pgtop.postgres.session.own_connection import OwnConnection

LONGEST_PROMISE_SECONDS: Final = 2**PROMISE_BITS - 1

_DRAWS: Final = 8
"""The number of keys drawn before giving up on one. Whoever wants to block all of them has to
hold a large part of a million keys exclusively. By default, no server's lock table has room for that."""
_NONE: Final = -1
"""No key's number."""


class Seen(msgspec.Struct, frozen=True):
    """The holders of keys at one moment."""

    now: int
    """The server's clock, microseconds."""
    keys: tuple[Key, ...]


class _Row(msgspec.Struct, frozen=True):
    pid: Pid
    is_shared: bool
    key: Whole
    rules: Whole | None
    backend_start: Moment | None
    state_change: Moment | None
    application_name: Name | None
    usename: Name | None
    may_signal: bool
    is_same_role: bool


class _Answer(msgspec.Struct, frozen=True):
    now: Moment
    keys: tuple[_Row, ...]


_decoder = msgspec.json.Decoder(_Answer)


def signed(number: int) -> int:
    """A number of 32 bits as the server takes it, whose integers have a sign.

    >>> signed(1), signed(2**32 - 1)
    (1, -1)
    """
    return number - 2**32 if number >= 2**31 else number


def drawn(promise_seconds: int) -> int:
    """A key that nobody can know before, with the promise in it: 0 to 2^32 - 1."""
    return secrets.randbits(32 - PROMISE_BITS) << PROMISE_BITS | min(promise_seconds, LONGEST_PROMISE_SECONDS)


class ReaperKeys:
    """The keys of one connection that reaps by itself."""

    def __init__(self, own_connection: OwnConnection) -> None:
        self._own_connection = own_connection

    async def seen(self) -> Seen:
        """All sessions that hold the key, strangers and this one among them. Raises what a statement does."""
        encoding = UTF8
        try:
            row = await self._own_connection.fetchrow(queries.REAPER_KEYS)
        except NOT_TEXT:
            row = await self._own_connection.fetchrow(queries.REAPER_KEYS_UNCONVERTED)
            encoding = self._own_connection.encoding
        answer = decoded(row and row.get("seen"), _decoder, 2 * (MOST_CONNECTIONS + MARGIN), encoding)
        keys = tuple(
            Key(
                pid=row.pid,
                backend_start=row.backend_start,
                state_change=row.state_change,
                application_name=row.application_name or "",
                usename=row.usename,
                is_shared=row.is_shared,
                promise_seconds=row.key & LONGEST_PROMISE_SECONDS,
                rules=row.rules,
                may_signal=row.may_signal,
                is_same_role=row.is_same_role,
            )
            for row in answer.keys
            if row.backend_start is not None
        )
        return Seen(answer.now, keys)

    async def take(self, promise_seconds: int, rules: int) -> str:
        """Take a key with this promise and one with these rules (0 to 2^32 - 1), and give older ones back.

        Returns why the first cannot be had, printable; "" where it is held. The others do not learn the rules
        where the second cannot be had. Raises what the connection raises where that is lost.
        """
        try:
            for _ in range(_DRAWS):
                number = drawn(promise_seconds)
                if await self._take(REAPER_CLASS, number):
                    await self._own_connection.fetch(queries.GIVE_KEYS, number)
                    # Last: a key that is taken twice has to be given back twice.
                    await self._take(RULES_CLASS, rules)
                    return ""
        except asyncpg.PostgresError as error:  # the lock table is full, or the function was revoked
            return f"the server does not give pgtop its key ({printable(str(error))})"
        return "other sessions hold pgtop's keys exclusively"

    async def _take(self, key_class: int, number: int) -> bool:
        row = await self._own_connection.fetchrow(queries.TAKE_KEY, key_class, signed(number))
        return row is not None and bool(row["taken"])

    async def give(self) -> None:
        """Give all of them back. Raises what the connection raises."""
        await self._own_connection.fetch(queries.GIVE_KEYS, _NONE)
