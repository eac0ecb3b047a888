"""The server and the role to connect as, resolved once: `Target`. No repr and no label shows its password."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final

import msgspec
from msgspec.structs import replace

from pgtop.core.redacted_repr import Redacted
from pgtop.core.text import printable

SOCKET_DIRECTORIES: Final = ("/var/run/postgresql", "/tmp")  # noqa: S108 (where servers put their sockets)
"""By the packages' default, and by PostgreSQL's own."""

SOCKET_MARKS: Final = ("/", "@")
"""The beginning of a host that is a socket directory, or a name in Linux's abstract namespace."""

CONNECT_TIMEOUT_SECONDS: Final = 10.0
"""For all hosts together, where no connect_timeout is given: a screen that waits for ever tells nothing."""


class Tls(Redacted, frozen=True):
    """libpq's TLS parameters, by libpq's names; meaningless over a Unix socket."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"sslpassword"})

    sslmode: str = "prefer"
    sslnegotiation: str = "postgres"
    sslrootcert: str | None = None
    """A file, or `system` for the machine's own authorities."""
    sslcert: str | None = None
    sslkey: str | None = None
    sslpassword: str | None = None
    sslcrl: str | None = None
    sslcrldir: str | None = None
    ssl_min_protocol_version: str | None = None
    ssl_max_protocol_version: str | None = None
    sslcertmode: str = "allow"
    user_directory: Path | None = None
    """The directory of the user's default certificates, `~/.postgresql`; None for a user without a home."""


class SocketOptions(msgspec.Struct, frozen=True):
    """The settings that decide how soon a dead TCP connection is noticed; 0 leaves the kernel's own value."""

    keepalives: bool = True
    keepalives_idle_seconds: int = 5
    keepalives_interval_seconds: int = 2
    keepalives_count: int = 3
    tcp_user_timeout_ms: int = 5000


class Endpoint(msgspec.Struct, frozen=True):
    """One host to try."""

    host: str
    """As asked for: a name, an address, or a socket directory. Passwords and certificates go by it."""
    port: int
    address: str
    """The address really connected to: `hostaddr` if it is given, else the host."""

    @property
    def is_socket(self) -> bool:
        """True for a Unix socket, also an abstract one."""
        return self.address.startswith(SOCKET_MARKS)

    @property
    def name(self) -> str:
        """By what a TCP host's certificate is checked; its address where the host is none of TCP's."""
        return self.address if self.host.startswith(SOCKET_MARKS) else self.host

    @property
    def socket_path(self) -> str:
        """The Unix socket's file, or its abstract name with an @ before it."""
        return f"{self.address.rstrip('/')}/.s.PGSQL.{self.port}"

    @property
    def label(self) -> str:
        """`host:port`, safe to print."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{printable(host)}:{self.port}"


class Target(Redacted, frozen=True):
    """Everything needed to connect, resolved once."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"password"})

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    """As many as hosts."""
    user: str
    database: str
    hostaddrs: tuple[str, ...] = ()
    """Empty, or as many as hosts; "" for a host without one."""
    password: str | None = None
    """As given in the conninfo, the service or PGPASSWORD; None where the password file decides."""
    passfile: Path | None = None
    """None for no file at all."""
    default_directory: str = SOCKET_DIRECTORIES[0]
    """The directory that `localhost` means in the password file: the one used where no host is named."""
    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS
    """For all hosts together."""
    address_timeout_seconds: float | None = None
    """For each address of each host, as libpq counts it; None where no connect_timeout is given, and the
    addresses share what there is for all."""
    socket_options: SocketOptions = SocketOptions()
    server_settings: Mapping[str, str] = MappingProxyType({})
    """From `options` and PGOPTIONS."""
    tls: Tls = Tls()
    target_session_attrs: str = "any"
    require_auth: frozenset[str] | None = None
    """The login methods that are allowed, by libpq's names; None for all."""
    requirepeer: str | None = None
    """The operating system's user who has to run the server behind a Unix socket."""
    krbsrvname: str | None = None
    gsslib: str | None = None
    rescue: "Target | None" = None
    """The same server as a privileged role: logged in as only while this one is refused with 53300."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The hosts in the order they are tried."""
        addresses = self.hostaddrs or ("",) * len(self.hosts)
        return tuple(
            Endpoint(host or address, port, address or host)
            for host, port, address in zip(self.hosts, self.ports, addresses, strict=True)
        )

    def within(self, seconds: float) -> "Target":
        """Return the target with at most this time for all hosts and addresses together."""
        least = min(self.connect_timeout_seconds, seconds)
        return replace(self, connect_timeout_seconds=least, address_timeout_seconds=None)

    @property
    def label(self) -> str:
        """`db1:5432/shop as app`, safe to print."""
        where = ",".join(endpoint.label for endpoint in self.endpoints)
        return f"{where}/{printable(self.database)} as {printable(self.user)}"
