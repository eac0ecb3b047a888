"""Which sessions a pattern means: globs for names, networks for addresses."""

from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

from pgtop.core.activity import Backend
from pgtop.core.labels import LOCAL, address


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

    def admit(self, backend: Backend) -> bool:
        """Whether the backend matches one pattern of each kind that has any, names exactly as written."""
        return (
            _any_kind(self.applications, backend.application_name)
            and _any_kind(self.users, backend.usename)
            and _any_kind(self.databases, backend.datname)
            and (not self.addresses or _network_of(backend, self.addresses) is not None)
        )

    def protecting(self, backend: Backend) -> str | None:
        """The first pattern of any kind that the backend matches, such as `user etl*`; None if none does.

        Whatever the case of a name: a protection that is written carelessly shall protect.
        """
        for kind, globs, name in (
            ("application", self.applications, backend.application_name),
            ("user", self.users, backend.usename),
            ("database", self.databases, backend.datname),
        ):
            folded = (name or "").lower()
            for glob in globs:
                if fnmatchcase(folded, glob.lower()):
                    return f"{kind} {glob}" if glob else f"no {kind} name"
        network = _network_of(backend, self.addresses)
        return None if network is None else f"address {network}"


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
