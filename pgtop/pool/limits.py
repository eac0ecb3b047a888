"""The limits of a pool: their names and types, the defaults, and how two sets of them compare."""

from collections.abc import Awaitable, Callable, Mapping
from ssl import SSLContext
from typing import Any, Final, TypedDict

from pgtop.pool.errors import DifferentLimitsError


class Limits(TypedDict, total=False):
    """Everything that `get_pool` takes beside the DSN: first its own, then what asyncpg takes."""

    acquire_timeout: float | None
    """Seconds to wait for a connection; None waits for ever."""
    leak_after: float | None
    """Seconds after which a connection that is still held is logged; None never logs."""
    tag_sites: bool
    """Name the place in application_name while a connection is held."""

    min_size: int
    max_size: int
    max_queries: int
    max_inactive_connection_lifetime: float
    setup: Callable[[Any], Awaitable[None]] | None
    init: Callable[[Any], Awaitable[None]] | None
    reset: Callable[[Any], Awaitable[None]] | None
    connect: Callable[..., Awaitable[Any]] | None
    connection_class: type[Any]
    record_class: type[Any]

    host: str | list[str]
    port: int | list[int]
    user: str
    password: str | Callable[[], str] | Callable[[], Awaitable[str]]
    passfile: str
    database: str
    timeout: float
    command_timeout: float | None
    statement_cache_size: int
    max_cached_statement_lifetime: int
    max_cacheable_statement_size: int
    ssl: bool | str | SSLContext
    direct_tls: bool
    server_settings: Mapping[str, str]
    target_session_attrs: str


DEFAULTS: Final[Limits] = {
    "acquire_timeout": 10.0,
    "leak_after": 60.0,
    "tag_sites": False,
    "min_size": 1,
    "max_size": 10,
    "max_inactive_connection_lifetime": 300.0,
    "command_timeout": 60.0,
    "timeout": 10.0,
}
"""The limits that count where none is given. `timeout` is that of opening one connection."""


def refuse_impossible(limits: Mapping[str, Any]) -> None:
    """Look at the pool's own limits; asyncpg looks at the rest. Raises ValueError, which names the limit."""
    for key in ("acquire_timeout", "leak_after"):
        value = limits[key]
        if value is not None and not (isinstance(value, int | float) and value >= 0):
            raise ValueError(f"{key} cannot be {value!r}: give seconds, or None")


def refuse_other_limits(name: str, existing: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Compare the limits that a caller gives with those of the pool that is there.

    Raises DifferentLimitsError, which names them; values are named where they are numbers, since others
    may be secret.
    """
    said = []
    for key, value in given.items():
        there = existing.get(key)
        if value != there:
            plain = all(each is None or isinstance(each, int | float) for each in (value, there))
            said.append(f"{key}={value} and not {there}" if plain else f"another {key}")
    if said:
        raise DifferentLimitsError(
            f"the pool of {name} is there already, and this call asks for {', '.join(said)}: "
            "give the limits in one place, and call get_pool(dsn) elsewhere, or close_pool(dsn) first"
        )
