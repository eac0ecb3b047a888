"""Which sessions a pattern means: globs for names, networks for addresses."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import msgspec

from pgtop.core.activity import Backend
from pgtop.core.labels import LOCAL, address

_GLOB: Final = frozenset("*?[")


class Patterns(msgspec.Struct, frozen=True):
    """Patterns by kind. Globs know `*`, `?` and `[a-z]`; addresses are single ones, networks, or `local`."""

    applications: tuple[str, ...] = ()
    """"" means the sessions that gave no name."""
    users: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    """`10.0.0.0/8`, `::1`, or `local` for sessions over a Unix socket."""

    @property
    def is_empty(self) -> bool:
        """True where there is no pattern at all."""
        return not (self.applications or self.users or self.databases or self.addresses)

    @property
    def name_anybody(self) -> bool:
        """Whether there is a pattern of a user's or a database's name."""
        return bool(self.users or self.databases)

    def admit(self, backend: Backend) -> bool:
        """Whether the backend matches one pattern of each kind that has any, names exactly as written.

        Where its user and database cannot be told apart, every reading has to match, or one of them by a
        user and a database that are both written in full.
        """
        return self._admits_beside_names(backend) and (
            all(self._admits_names(*names) for names in _readings(backend))
            or (backend.readings != () and any(pair in backend.readings for pair in self._pairs_in_full()))
        )

    def is_unsure_of(self, backend: Backend) -> bool:
        """Whether it is not admitted, and might be, were its user and database known apart."""
        return (
            not self.admit(backend)
            and self._admits_beside_names(backend)
            and any(self._admits_names(*names) for names in _readings(backend))
        )

    def _admits_beside_names(self, backend: Backend) -> bool:
        return _any_kind(self.applications, backend.application_name) and (
            not self.addresses or _network_of(backend, self.addresses) is not None
        )

    def _admits_names(self, user: str | None, database: str | None) -> bool:
        return _any_kind(self.users, user) and _any_kind(self.databases, database)

    def _pairs_in_full(self) -> list[tuple[str, str]]:
        """The users and databases that are written without a pattern, in every pairing."""
        users, databases = (
            [name for name in names if not _GLOB & set(name)] for names in (self.users, self.databases)
        )
        return [(user, database) for user in users for database in databases]

    def protecting(self, backend: Backend) -> "Protection | None":
        """The first pattern that the backend matches; None if none does.

        Applications come last: their names are the only ones that a client chooses for itself. The case of a
        name does not count: a protection that is written carelessly shall protect.
        """
        users, databases = zip(*_readings(backend), strict=True)
        for kind, globs, names in (("user", self.users, users), ("database", self.databases, databases)):
            glob = _first_glob(globs, names)
            if glob is not None:
                return Protection(f"{kind} {glob}" if glob else f"no {kind} name")
        network = _network_of(backend, self.addresses)
        if network is not None:
            return Protection(f"address {network}")
        glob = _first_glob(self.applications, (backend.application_name,))
        return None if glob is None else Protection(glob or "no application name", is_by_name=True)


class Protection(msgspec.Struct, frozen=True):
    """The pattern that protects a session."""

    pattern: str
    """With its kind, such as `user etl*`; an application's stands alone."""
    is_by_name: bool = False
    """Whether it is of the application's name, which any client can give itself."""

    @property
    def reason(self) -> str:
        """Why the session is spared.

        >>> Protection("user etl*").reason, Protection("Patroni*", is_by_name=True).reason
        ('protected: user etl*', 'protected by its name: Patroni*')
        """
        return f"protected{' by its name' if self.is_by_name else ''}: {self.pattern}"


def _readings(backend: Backend) -> tuple[tuple[str | None, str | None], ...]:
    """Each user with its database that the backend may be of."""
    return backend.readings or ((backend.usename, backend.datname),)


def _first_glob(globs: tuple[str, ...], names: Iterable[str | None]) -> str | None:
    """The first glob that one of the names matches, whatever its case."""
    folded = [(name or "").lower() for name in names]
    return next((glob for glob in globs if any(fnmatchcase(name, glob.lower()) for name in folded)), None)


def _any_kind(globs: tuple[str, ...], name: str | None) -> bool:
    return not globs or any(fnmatchcase(name or "", glob) for glob in globs)


def _network_of(backend: Backend, networks: tuple[str, ...]) -> str | None:
    """The first network that the backend's address lies in."""
    where = address(backend)
    if where is None:
        return None
    return next((network for network in networks if _contains(network, where)), None)


@lru_cache(maxsize=16_384)
def _contains(network: str, where: str) -> bool:
    """Whether an address lies in a network; an IPv4 address that came over IPv6 counts as what it is.

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
    """A network as it was written; bits of the host part are no fault. Raises ValueError.

    >>> parse_network("10.1.2.3/8"), parse_network("::ffff:10.1.2.3/104")
    (IPv4Network('10.0.0.0/8'), IPv4Network('10.0.0.0/8'))
    """
    found = ip_network(text.strip(), strict=False)
    if isinstance(found, IPv6Network) and found.prefixlen >= 96:
        mapped = found.network_address.ipv4_mapped
        return found if mapped is None else IPv4Network((mapped, found.prefixlen - 96))
    return found
