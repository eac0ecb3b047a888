"""libpq's TLS parameters as the driver takes them."""

import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from pgtop.core.text import printable
from pgtop.errors import ConnectError
from pgtop.postgres.target import Tls

SYSTEM: Final = "system"


def tls_arguments(tls: Tls) -> dict[str, Any]:
    """Arguments of `asyncpg.connect` for a TCP host.

    Raises ConnectError for a file that is asked for and cannot be read: going on without it would check less
    than was asked for.
    """
    for name in ("sslrootcert", "sslcrl", "sslkey"):
        _check_readable(tls, name)
    if tls.sslrootcert == SYSTEM:
        return {"ssl": _system_context(tls), "direct_tls": tls.sslnegotiation == "direct"}
    given = {name: getattr(tls, name) for name in tls.__struct_fields__}
    given["sslcert"] = _client_certificate(tls)
    query = urlencode({name: value for name, value in given.items() if value}, quote_via=quote)
    # The driver takes certificates only in a URI, or from the environment, which is not the last word here.
    return {"dsn": f"postgresql:///?{query}"}


def _check_readable(tls: Tls, name: str) -> None:
    value = getattr(tls, name)
    if not value or tls.sslmode == "disable" or (name == "sslrootcert" and _unverified(tls)):
        return
    if name == "sslrootcert" and value == SYSTEM:
        return
    try:
        with Path(value).open("rb"):
            return
    except OSError as error:
        problem = f"{name} {printable(value)} cannot be read ({error.strerror})"
        raise ConnectError(problem, f"name a file that can, or leave {name} out") from error


def _unverified(tls: Tls) -> bool:
    return tls.sslmode in ("allow", "prefer")


def _client_certificate(tls: Tls) -> str | None:
    """libpq does without a client certificate whose file does not exist."""
    return tls.sslcert if tls.sslcert and Path(tls.sslcert).exists() else None


def _system_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context()
    certificate = _client_certificate(tls)
    if certificate:
        context.load_cert_chain(certificate, tls.sslkey, lambda: tls.sslpassword or "")
    if tls.sslcrl:
        context.load_verify_locations(cafile=tls.sslcrl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    context.minimum_version = _version(tls.ssl_min_protocol_version, ssl.TLSVersion.TLSv1_2)
    context.maximum_version = _version(tls.ssl_max_protocol_version, ssl.TLSVersion.MAXIMUM_SUPPORTED)
    context.set_alpn_protocols(["postgresql"])
    return context


def _version(name: str | None, default: ssl.TLSVersion) -> ssl.TLSVersion:
    return ssl.TLSVersion[name.replace(".", "_")] if name else default
