"""Patterns that select sessions: globs for names, networks for addresses."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import msgspec

from pgtop.core.activity import Backend
from pgtop.core.name_patterns import is_application, is_identifier
from pgtop.core.session_labels import LOCAL, address

_GLOB: Final = frozenset("*?[")

_Readings = tuple[tuple[str | None, str | None], ...]
"""Each pair of user and database that a backend may have."""


class Patterns(msgspec.Struct, frozen=True):
    """Patterns by kind; those for names are globs, as `core.name_patterns` reads them."""

    applications: tuple[str, ...] = ()
    """"" means the sessions that gave no name."""
    users: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    """Networks such as `10.0.0.0/8`, single addresses such as `::1`, or `local` for Unix sockets."""

    @property
    def is_empty(self) -> bool:
        """True if there is no pattern at all."""
        return not (self.applications or self.users or self.databases or self.addresses)

    @property
    def name_anybody(self) -> bool:
        """True if there is a pattern for the names of users or databases."""
        return bool(self.users or self.databases)

    def admit(self, backend: Backend) -> bool:
        """Return whether the backend matches one pattern of each kind that has any. Names are case-sensitive.

        If its user and database cannot be told apart, every reading must match; or one of them must match a
        user and a database that are both written without wildcards.
        """
        return self._admits_beside_names(backend) and (
            all(self._admits_names(*names) for names in _readings(backend))
            or (backend.readings != () and any(pair in backend.readings for pair in self._pairs_in_full()))
        )

    def is_unsure_of(self, backend: Backend) -> bool:
        """Return whether it is not admitted, but would be by one reading of its user and database."""
        return (
            not self.admit(backend)
            and self._admits_beside_names(backend)
            and any(self._admits_names(*names) for names in _readings(backend))
        )

    def _admits_beside_names(self, backend: Backend) -> bool:
        return (
            not self.applications
            or any(is_application(glob, backend.application_name or "") for glob in self.applications)
        ) and (not self.addresses or _network_of(address(backend), self.addresses) is not None)

    def _admits_names(self, user: str | None, database: str | None) -> bool:
        return all(
            not globs or any(is_identifier(glob, name or "") for glob in globs)
            for globs, name in ((self.users, user), (self.databases, database))
        )

    def _pairs_in_full(self) -> list[tuple[str, str]]:
        """Return every pair of a user and a database that are written without wildcards."""
        users, databases = (
            [name for name in names if not _GLOB & set(name)] for names in (self.users, self.databases)
        )
        return [(user, database) for user in users for database in databases]

    def protecting(self, backend: Backend) -> "Protection | None":
        """Return the protection by the first pattern that the backend matches; None if it matches none.

        Applications come last, because a client chooses their names itself. Names are compared without regard
        to case, and in every form that a server may give them, so that no protection fails unnoticed.
        """
        return _protection(self, _readings(backend), address(backend), backend.application_name or "")


class Protection(msgspec.Struct, frozen=True):
    """The pattern that protects a session."""

    pattern: str
    """The pattern with its kind, such as `user etl*`; an application's pattern has no kind before it."""
    is_by_name: bool = False
    """True if the pattern is for the application's name, which any client can give itself."""

    @property
    def reason(self) -> str:
        """The reason that the session is skipped.

        >>> Protection("user etl*").reason, Protection("Patroni*", is_by_name=True).reason
        ('protected: user etl*', 'protected by its name: Patroni*')
        """
        return f"protected{' by its name' if self.is_by_name else ''}: {self.pattern}"


def _readings(backend: Backend) -> _Readings:
    """Return each pair of user and database that the backend may have."""
    return backend.readings or ((backend.usename, backend.datname),)


# A plan asks for each of thousands of sessions, which have a few names and addresses between them.
@lru_cache(maxsize=1024)
def _protection(patterns: Patterns, readings: _Readings, where: str | None, called: str) -> Protection | None:
    users, databases = zip(*readings, strict=True)
    for kind, globs, names in (("user", patterns.users, users), ("database", patterns.databases, databases)):
        named = [name or "" for name in names]
        glob = next((each for each in globs if _is_one_of(each, named)), None)
        if glob is not None:
            return Protection(f"{kind} {glob}" if glob else f"no {kind} name")
    network = _network_of(where, patterns.addresses)
    if network is not None:
        return Protection(f"address {network}")
    glob = next((each for each in patterns.applications if is_application(each, called, protects=True)), None)
    return None if glob is None else Protection(glob or "no application name", is_by_name=True)


def _is_one_of(glob: str, names: Iterable[str]) -> bool:
    return any(is_identifier(glob, name, protects=True) for name in names)


def _network_of(where: str | None, networks: tuple[str, ...]) -> str | None:
    """Return the first network that contains an address; None if there is none."""
    if where is None:
        return None
    return next((network for network in networks if _contains(network, where)), None)


@lru_cache(maxsize=16_384)
def _contains(network: str, where: str) -> bool:
    """Return whether a network contains an address. An IPv4 address mapped to IPv6 counts as IPv4.

    >>> _contains("10.0.0.0/8", "10.1.2.3"), _contains("10.0.0.0/8", "::ffff:10.1.2.3")
    (True, True)
    >>> _contains("local", "local"), _contains("local", "127.0.0.1"), _contains("0.0.0.0/0", "local")
    (True, False, False)
    """
    if LOCAL in (network, where):
        return network == where
    try:
        found = ip_address(where)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found in parse_network(network)


@lru_cache(maxsize=1024)
def parse_network(text: str) -> IPv4Network | IPv6Network:
    """Return the network that a text gives. Bits set in its host part are allowed. It raises ValueError.

    >>> parse_network("10.1.2.3/8"), parse_network("::ffff:10.1.2.3/104")
    (IPv4Network('10.0.0.0/8'), IPv4Network('10.0.0.0/8'))
    """
    found = ip_network(text.strip(), strict=False)
    if isinstance(found, IPv6Network) and found.prefixlen >= 96:
        mapped = found.network_address.ipv4_mapped
        return found if mapped is None else IPv4Network((mapped, found.prefixlen - 96))
    return found
