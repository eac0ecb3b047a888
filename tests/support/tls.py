"""Certificates for tests of TLS, and a server that shows one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.servers import execute

_NEW = (
    "req",
    "-new",
    "-x509",
    "-nodes",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-days",
    "2",
)


def new_certificate(path: Path, common: str, alternative: str, *more: str) -> Path:
    """Make a self-signed certificate for these names; its key lies beside it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on this machine to make a certificate")
    names = ["-subj", f"/CN={common}", *(("-addext", f"subjectAltName={alternative}") if alternative else ())]
    files = ["-keyout", str(path.with_suffix(".key")), "-out", str(path)]
    subprocess.run([openssl, *_NEW, *names, *more, *files], check=True, capture_output=True)
    return path


def lay_certificate(server: ThrowawayServer, certificate: Path) -> None:
    """Put a certificate and its key where the server reads them at its next start or reload."""
    owner = server.data_dir.stat()
    for path, name in ((certificate, "server.crt"), (certificate.with_suffix(".key"), "server.key")):
        there = server.data_dir / name
        shutil.copy(path, there)
        there.chmod(0o600)
        os.chown(there, owner.st_uid, owner.st_gid)


async def serve_certificate(server: ThrowawayServer, certificate: Path) -> None:
    """Let a running server with TLS show this certificate from now on."""
    lay_certificate(server, certificate)
    await execute(server, "SELECT pg_reload_conf()")
