"""The rescue conninfo: the same server as a privileged role, for when the ordinary one finds no slot."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from pgtop.errors import UsageError
from pgtop.postgres.conninfo.parse import parse_conninfo
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.conninfo.target import Target

_OF_THE_ORDINARY: Final = frozenset(
    {"PGDATABASE", "PGHOST", "PGHOSTADDR", "PGPASSWORD", "PGPORT", "PGSERVICE", "PGUSER"}
)
"""Variables that say where the ordinary role goes and as whom."""

_PLACE: Final = frozenset({"host", "hostaddr", "port"})
_SESSION: Final = frozenset({"target_session_attrs", "connect_timeout"})


def with_rescue(target: Target, rescue: str, source: str, environ: Mapping[str, str]) -> Target:
    """The target with its rescue role, of which `rescue` is the conninfo.

    What that leaves out (host, port, database, TLS, timeout) is the ordinary one's, so that a role alone is
    enough: `user=postgres`. Its password is its own: in the conninfo, or in the password file. A target that
    is the same role at the same place gets none. Raises UsageError, naming `source`, where the conninfo is
    bad or names no role.
    """
    try:
        given = parse_conninfo(rescue)
        known = {name: value for name, value in environ.items() if name not in _OF_THE_ORDINARY}
        own = resolve(rescue, {}, known)
    except UsageError as error:
        raise UsageError(f"{source}: {error.problem}", error.mend) from error
    if "service" in given:
        return replace(target, rescue=own)
    if "user" not in given:
        raise UsageError(f"{source} names no role", "write it as user=postgres, with more where that differs")
    taken: dict[str, Any] = {}
    if not given.keys() & _PLACE:
        taken |= {"hosts": target.hosts, "ports": target.ports, "hostaddrs": target.hostaddrs}
    elif not given.keys() & {"host", "hostaddr"}:
        taken |= {"hosts": target.hosts, "hostaddrs": target.hostaddrs}
        taken |= {"ports": own.ports * len(target.hosts) if len(own.ports) == 1 else own.ports}
    elif "port" not in given and len(set(target.ports)) == 1:
        taken |= {"ports": target.ports[:1] * len(own.hosts)}
    if "dbname" not in given:
        taken["database"] = target.database
    if not any(name.startswith("ssl") for name in given):
        taken["tls"] = target.tls
    if not given.keys() & _SESSION:
        taken["target_session_attrs"] = target.target_session_attrs
        taken["connect_timeout_seconds"] = target.connect_timeout_seconds
        taken["address_timeout_seconds"] = target.address_timeout_seconds
    if "passfile" not in given:
        taken["passfile"] = target.passfile
    own = replace(own, **taken, socket_options=target.socket_options)
    is_itself = own.user == target.user and own.endpoints == target.endpoints
    return target if is_itself else replace(target, rescue=own)
