"""A user without a home of its own, or with another's in HOME: pgtop works, and writes nothing there."""

import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgtop.errors import UsageError
from pgtop.postgres.conninfo.passfile import stored_password
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.settings.defaults_and_bounds import default_audit_log, default_history
from pgtop.settings.file import default_path, read_config_file
from pgtop.settings.own_home import NO_HOME, is_closed

PLACES = {
    ".config/pgtop/config.toml": default_path,
    ".local/state/pgtop/audit.jsonl": default_audit_log,
    ".local/state/pgtop/history.sqlite3": default_history,
}


def unknown_uid() -> int:
    """A user id that the operating system has no name for."""
    known = {each.pw_uid for each in pwd.getpwall()}
    return next(uid for uid in range(23_456, 60_000) if uid not in known)


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """This process as that user; root alone can do it."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    groups = os.getgroups()
    os.setgroups([])
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setgroups(groups)


@pytest.fixture(autouse=True)
def _no_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for place in PLACES.values():
        place()  # what that imports may lie where another user cannot read


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path


@pytest.fixture
def closed(place: Path) -> Path:
    """Root's home, with a configuration file that is none of the user's business."""
    home = place / "root"
    (home / ".config/pgtop").mkdir(parents=True)
    (home / ".config/pgtop/config.toml").write_text("read_only = true\n")
    (home / ".pgpass").write_text("*:*:*:*:hush\n")
    home.chmod(0o700)
    return home


def test_a_user_without_a_home_has_places_that_are_not() -> None:
    """They are told in full, and nothing is there to be read."""
    with acting_as(unknown_uid()):
        found = {below: place() for below, place in PLACES.items()}
        assert found == {below: NO_HOME / below for below in PLACES}
        assert not read_config_file(None).settings
        target = resolve("host=db1", {"user": "app"}, {})
        assert (target.user, target.passfile, target.tls.user_directory) == ("app", None, None)
        with pytest.raises(UsageError, match="-U"):
            resolve("host=db1", {}, {})


@pytest.mark.parametrize("variable", ["HOME", "XDG_CONFIG_HOME"])
def test_a_closed_home_of_another_user_is_left_alone(
    closed: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """As where sudo keeps HOME: the file is read that is below the user's own."""
    monkeypatch.setenv(variable, str(closed if variable == "HOME" else closed / ".config"))
    assert read_config_file(None).settings  # root's own
    with acting_as(unknown_uid()):
        assert default_path() == NO_HOME / ".config/pgtop/config.toml"
        assert not read_config_file(None).settings
        if variable == "HOME":
            assert default_audit_log() == NO_HOME / ".local/state/pgtop/audit.jsonl"


def test_a_file_in_a_closed_home_is_as_one_not_there(closed: Path) -> None:
    """To psql, too: password file, service file, certificates."""
    with acting_as(unknown_uid()):
        target = resolve("host=db1 user=app", {}, {"HOME": str(closed)})
        assert stored_password(target, target.endpoints[0]) is None
        for variables in ({"HOME": str(closed)}, {"PGSERVICEFILE": str(closed / "services")}):
            with pytest.raises(UsageError, match="not found"):
                resolve("service=x user=app", {}, variables)


def test_a_file_that_is_asked_for_is_never_passed_over(
    closed: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the user's own one that it may not read: it may protect sessions."""
    mine = place / "mine"
    (mine / "pgtop").mkdir(parents=True)
    (mine / "pgtop/config.toml").write_text("")
    uid = unknown_uid()
    for path in (mine, mine / "pgtop", mine / "pgtop/config.toml"):
        os.chown(path, uid, uid)
    (mine / "pgtop").chmod(0)
    with acting_as(uid):
        assert is_closed(closed / "x/y")
        assert not is_closed(mine / "pgtop/config.toml")
        for path in (closed / ".config/pgtop/config.toml", mine / "pgtop/config.toml"):
            with pytest.raises(UsageError, match="Permission denied"):
                read_config_file(str(path))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(mine))
        with pytest.raises(UsageError, match="Permission denied"):
            read_config_file(None)
