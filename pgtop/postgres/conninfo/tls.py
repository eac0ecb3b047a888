"""libpq's TLS parameters as the driver takes them."""

import ssl
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode

from pgtop.core.text import printable
from pgtop.errors import ConnectError
from pgtop.postgres.conninfo.target import Endpoint, Tls
from pgtop.safe_files import check_readable

SYSTEM: Final = "system"

ENCRYPTED: Final = "encrypted"
PLAIN: Final = "plain"

Pins: TypeAlias = dict[Endpoint, str]
"""Hosts that are asked in one way alone for the time being: ENCRYPTED or PLAIN."""


def is_plain_refused(error: BaseException) -> bool:
    """True where a server that was asked for TLS has none."""
    return "rejected SSL upgrade" in str(error)


def tls_arguments(tls: Tls, pinned: str | None = None) -> dict[str, Any]:
    """Arguments of `asyncpg.connect` for a TCP host; `pinned` where sslmode leaves the choice.

    Raises ConnectError for a file that is asked for and cannot be read: going on without it would check less
    than was asked for.
    """
    if pinned == PLAIN:
        return {"ssl": False}
    for name in ("sslrootcert", "sslcrl", "sslkey", *(["sslcert"] if _client_certificate(tls) else [])):
        _check_readable(tls, name)
    if pinned == ENCRYPTED:
        return {"ssl": _unverified_context(tls)}
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
        check_readable(Path(value))
    except OSError as error:
        problem = f"{name} {printable(value)} cannot be read ({error.strerror})"
        raise ConnectError(problem, f"name a file that can, or leave {name} out") from error


def _unverified(tls: Tls) -> bool:
    return tls.sslmode in ("allow", "prefer")


def _client_certificate(tls: Tls) -> str | None:
    """libpq does without a client certificate whose file does not exist."""
    return tls.sslcert if tls.sslcert and Path(tls.sslcert).exists() else None


def _system_context(tls: Tls) -> ssl.SSLContext:
    context = _with_client(ssl.create_default_context(), tls)
    if tls.sslcrl:
        context.load_verify_locations(cafile=tls.sslcrl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    return context


def _unverified_context(tls: Tls) -> ssl.SSLContext:
    """Return the context for sslmode=prefer, which checks nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _with_client(context, tls)


def _with_client(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    certificate = _client_certificate(tls)
    if certificate:
        context.load_cert_chain(certificate, tls.sslkey, lambda: tls.sslpassword or "")
    context.minimum_version = _version(tls.ssl_min_protocol_version, ssl.TLSVersion.TLSv1_2)
    context.maximum_version = _version(tls.ssl_max_protocol_version, ssl.TLSVersion.MAXIMUM_SUPPORTED)
    context.set_alpn_protocols(["postgresql"])
    return context


def _version(name: str | None, default: ssl.TLSVersion) -> ssl.TLSVersion:
    return ssl.TLSVersion[name.replace(".", "_")] if name else default
