"""libpq's TLS parameters as a context for one connection, and the check of the server's name.

A context is made when the server has agreed to TLS, as libpq does: files that a server without TLS never
needs keep nobody out.
"""

import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pgtop.core.text import clip, printable
from pgtop.errors import ConnectError
from pgtop.postgres.conninfo.certificate_names import is_for, names_in
from pgtop.postgres.conninfo.target import Tls
from pgtop.safe_files import check_readable

SYSTEM: Final = "system"
_LONGEST_SHOWN: Final = 100
_VERIFIED: Final = ("verify-ca", "verify-full")
_UNVERIFIED: Final = ("allow", "prefer")


def is_plain_refused(error: BaseException) -> bool:
    """True where a server that was asked for TLS has none."""
    return "rejected SSL upgrade" in str(error)


def placeholder_context() -> ssl.SSLContext:
    """Return a context that nothing is encrypted with: it tells the driver to ask the server for TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Encryption:
    """TLS for one connection to a host."""

    def __init__(self, tls: Tls, host: str) -> None:
        """`host` is the name, or the address, that sslmode=verify-full looks for in the certificate."""
        self.is_optional = tls.sslmode == "prefer"
        """True if the connection goes on in plain text where the server has no TLS."""
        self._tls = tls
        self._host = host
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context, made at the first call.

        Raises ConnectError for a file that is asked for and cannot be used: going on without it would check
        less than was asked for.
        """
        if self._context is None:
            self._context = self._made()
        return self._context

    def _made(self) -> ssl.SSLContext:
        tls = self._tls
        # Not create_default_context: its strictness refuses certificates that OpenSSL, and so libpq, takes.
        context = placeholder_context()
        context.set_ciphers("DEFAULT")
        context.minimum_version = _version(tls.ssl_min_protocol_version, ssl.TLSVersion.TLSv1_2)
        context.maximum_version = _version(tls.ssl_max_protocol_version, ssl.TLSVersion.MAXIMUM_SUPPORTED)
        context.set_alpn_protocols(["postgresql"])
        if tls.sslmode not in _UNVERIFIED:
            _verify(context, tls)
        _present_client(context, tls)
        return context

    def check_name(self, encrypted: ssl.SSLObject) -> None:
        """Raise SSLCertVerificationError where verify-full is asked for and the certificate is another's."""
        if self._tls.sslmode != "verify-full":
            return
        certificate: dict[str, Any] = encrypted.getpeercert() or {}
        if is_for(certificate, self._host):
            return
        names = ", ".join(names_in(certificate)) or "no host"
        said = f"it is for {clip(printable(names), _LONGEST_SHOWN)}, not for {printable(self._host)}"
        error = ssl.SSLCertVerificationError(1, said)
        error.verify_message = said
        raise error


def _verify(context: ssl.SSLContext, tls: Tls) -> None:
    """Trust the root certificates only, and none that is revoked, as far as sslmode and files ask for it."""
    if tls.sslrootcert == SYSTEM:
        context.set_default_verify_paths()
    else:
        root = tls.sslrootcert or _of_user(tls, "root.crt")
        if root is None:
            if tls.sslmode in _VERIFIED:
                raise ConnectError(
                    f"sslmode={tls.sslmode} needs a root certificate; ~/.postgresql/root.crt is not there",
                    "name its file in sslrootcert, or use sslrootcert=system with sslmode=verify-full",
                )
            return
        _load("sslrootcert", root, lambda: context.load_verify_locations(cafile=root))
    context.verify_mode = ssl.CERT_REQUIRED
    default = None if tls.sslcrldir or tls.sslrootcert == SYSTEM else _of_user(tls, "root.crl")
    revoked = tls.sslcrl or default
    if revoked is not None:
        _load("sslcrl", revoked, lambda: context.load_verify_locations(cafile=revoked))
    if tls.sslcrldir is not None:
        context.load_verify_locations(capath=tls.sslcrldir)
    if revoked is not None or tls.sslcrldir is not None:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _present_client(context: ssl.SSLContext, tls: Tls) -> None:
    """Load the client's certificate and its key; without a certificate the key is not looked at."""
    certificate = tls.sslcert or _of_user(tls, "postgresql.crt")
    if tls.sslcertmode == "disable" or certificate is None or not _exists(certificate):
        return
    _load("sslcert", certificate, lambda: None)
    key = tls.sslkey or _user_file(tls, "postgresql.key")
    if key is None or not _exists(key):
        raise ConnectError(
            f"the client certificate {printable(certificate)} is there, but its private key "
            f"{printable(key or 'postgresql.key')} is not",
            "name the key in sslkey, or use sslcertmode=disable to go without a client certificate",
        )
    _refuse_exposed(key)
    _load(
        "sslcert and sslkey",
        f"{certificate} and {key}",
        lambda: context.load_cert_chain(certificate, key, lambda: tls.sslpassword or ""),
        [certificate, key],
    )


def _refuse_exposed(key: str) -> None:
    """Raise ConnectError for a key that others may read: root's may be read by its group, as libpq has it."""
    try:
        status = Path(key).stat()
    except OSError:
        return  # told where it is read
    forbidden = stat.S_IRWXG | stat.S_IRWXO
    if status.st_uid == 0:
        forbidden ^= stat.S_IRGRP
    if not stat.S_ISREG(status.st_mode):
        raise ConnectError(f"sslkey {printable(key)} is not a regular file", "name the key's own file")
    if status.st_mode & forbidden:
        raise ConnectError(
            f"others than its owner may read or change the private key {printable(key)}",
            f"run chmod 600 {printable(key)}, as its owner",
        )


def _load(name: str, value: str, load: Callable[[], None], paths: list[str] | None = None) -> None:
    """Load a file that is asked for."""
    try:
        for path in paths or [value]:
            check_readable(Path(path))
        load()
    except ssl.SSLError as error:
        reason = printable(error.reason or str(error)).replace("_", " ").lower()
        problem = f"{name} {printable(value)} cannot be used ({reason})"
        raise ConnectError(
            problem, f"check that each is a PEM file and belongs to the other: {name}"
        ) from error
    except OSError as error:
        problem = f"{name} {printable(value)} cannot be read ({error.strerror})"
        raise ConnectError(problem, f"name a file that can, or leave {name} out") from error


def _of_user(tls: Tls, name: str) -> str | None:
    """Return the path of one of the user's default files; None where it cannot be seen."""
    path = _user_file(tls, name)
    return path if path is not None and _exists(path) else None


def _user_file(tls: Tls, name: str) -> str | None:
    return str(tls.user_directory / name) if tls.user_directory else None


def _exists(path: str) -> bool:
    """Return whether there is such a file; False where its directory cannot be searched."""
    try:
        Path(path).stat()
    except OSError:
        return False
    return True


def _version(name: str | None, default: ssl.TLSVersion) -> ssl.TLSVersion:
    return ssl.TLSVersion[name.replace(".", "_")] if name else default
