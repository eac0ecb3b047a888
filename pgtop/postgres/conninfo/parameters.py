"""libpq's connection parameters: which there are, their variables, and what pgtop makes of each."""

from collections.abc import Mapping
from typing import Final

from pgtop.core.masking import masked_value
from pgtop.core.text import clip, printable
from pgtop.errors import UsageError

VARIABLES: Final = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "dbname": "PGDATABASE",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "options": "PGOPTIONS",
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcertmode": "PGSSLCERTMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "requirepeer": "PGREQUIREPEER",
    "require_auth": "PGREQUIREAUTH",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "min_protocol_version": "PGMINPROTOCOLVERSION",
}
"""Each parameter that has a say here and can come from the environment."""

WITHOUT_VARIABLE: Final = frozenset(
    {
        "service",
        "sslpassword",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "replication",
        "scram_client_key",
        "scram_server_key",
        "oauth_issuer",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_scope",
    }
)

IGNORED: Final = frozenset(
    {
        "application_name",  # pgtop names its own session: that is how one pgtop knows another
        "fallback_application_name",
        "client_encoding",  # always UTF-8 here
        "gssdelegation",
        "load_balance_hosts",
        "max_protocol_version",
        "sslcompression",
        "sslkeylogfile",
        "sslsni",
    }
)
"""Taken, and without effect: none of them makes a connection safer."""

KNOWN: Final = VARIABLES.keys() | WITHOUT_VARIABLE | IGNORED | {"requiressl"}

_HARMLESS: Final[Mapping[str, frozenset[str]]] = {
    "sslcertmode": frozenset({"allow", "disable"}),
    "channel_binding": frozenset({"disable", "prefer"}),
    "gssencmode": frozenset({"disable", "prefer"}),
    "min_protocol_version": frozenset({"3.0"}),
    "replication": frozenset({"0", "false", "off", "no"}),
    "scram_client_key": frozenset(),
    "scram_server_key": frozenset(),
    "oauth_issuer": frozenset(),
    "oauth_client_id": frozenset(),
    "oauth_client_secret": frozenset(),
    "oauth_scope": frozenset(),
}
"""For each thing pgtop cannot do, the values that do not ask for it. Any other would be a broken promise."""

_INSTEAD: Final = {
    "channel_binding": "write channel_binding=prefer; sslmode=verify-full guards against a server in between",
    "gssencmode": "write gssencmode=prefer, and sslmode=require for a server that has TLS",
    "sslcertmode": "write sslcertmode=allow: the certificate is shown to a server that asks for it",
}
"""The values to write in place of some of them."""

_SECRET: Final = frozenset({"password", "sslpassword", "scram_client_key", "scram_server_key"})
_LONGEST_SHOWN: Final = 60


def shown(text: str) -> str:
    """A piece of a conninfo in quotes, safe to print, clipped, without a password."""
    return f'"{clip(printable(masked_value(text)), _LONGEST_SHOWN)}"'


def is_utf8(text: str) -> bool:
    """False for what came from the command line, the environment or a file as bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def normalised(name: str, value: str) -> tuple[str, str]:
    """A parameter by the name that counts; raises UsageError for one that libpq does not know.

    >>> normalised("requiressl", "1")
    ('sslmode', 'require')
    """
    if name not in KNOWN:
        raise UsageError(f"invalid connection option {shown(name)}", "the options are those of libpq")
    if name == "requiressl":
        return "sslmode", "require" if value.startswith("1") else "prefer"
    return name, value


def refuse_unkept(parameters: Mapping[str, str]) -> None:
    """Raise UsageError for a value that no server can be sent, and for a parameter that asks for what pgtop
    cannot do, where ignoring it would harm."""
    for name, value in parameters.items():
        if "\0" in value or not is_utf8(value):
            raise UsageError(f"connection option {name} is not valid text", "write it as UTF-8")
    for name, harmless in _HARMLESS.items():
        value = parameters.get(name, "")
        if value and value not in harmless:
            asked = name if name in _SECRET or name.startswith("oauth") else f"{name}={printable(value)}"
            variable = VARIABLES.get(name)
            raise UsageError(
                f"pgtop does not support {clip(asked, _LONGEST_SHOWN)}",
                _INSTEAD.get(name, f"leave {name} out") + (f" (or unset {variable})" if variable else ""),
            )


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The parameters that the environment gives."""
    found = {name: environ[variable] for name, variable in VARIABLES.items() if variable in environ}
    if "sslmode" not in found and "PGREQUIRESSL" in environ:
        found["sslmode"] = normalised("requiressl", environ["PGREQUIRESSL"])[1]
    return found
