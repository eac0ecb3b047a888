"""A password that is given in the wrong place comes back nowhere, whatever is wrong with the command line."""

import contextlib
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from unittest import mock
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtop.commands.main import run as run_here
from tests.support.config_files import write_config
from tests.support.running import assert_one_line, run

NOWHERE = "/no/such/directory"
"""A socket directory that is not there: a login fails at once, and asks nobody."""

HALVES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=2, max_size=12)
PASSWORDS = (
    st.tuples(HALVES, HALVES).map("ж7".join).filter(lambda text: "***" not in text and text.strip() == text)
)
"""Marked in the middle: without that, some would be part of what pgtop says anyway, such as `postgr`."""

GIVEN = (
    "postgresql://app:{raw}@db1/shop",
    "postgresql://app:{encoded}@db1/shop",
    "POSTGRES://app:{encoded}@db1",
    "postgresql://db1/shop?password={encoded}&user=a",
    "host=db1 password='{quoted}' user=app",
    "host=db1 password = '{quoted}",
    "PGPASSWORD={encoded}",
    "db1:5432:shop:app:{encoded}",
)

PLACES = (
    ("snapshot", "-h"),
    ("snapshot", "-h", NOWHERE, "-p"),
    ("snapshot", "-h", NOWHERE, "-U"),
    ("snapshot", "-h", NOWHERE, "-d", "x", "--service"),
    ("snapshot", "-h", NOWHERE, "--interval"),
    ("snapshot", "-h", NOWHERE, "--warn-at"),
    ("reap", "-h", NOWHERE, "--every"),
    ("reap", "-h", NOWHERE, "--max-per-sweep"),
    ("reap", "-h", NOWHERE, "--address"),
    ("reap", "-h", NOWHERE, "--metrics-listen"),
    ("reap", "-h", NOWHERE, "--audit-max-size"),
    ("reap", "-h", NOWHERE, "--log-format"),
    ("snapshot", "-h", NOWHERE, "--config"),
    ("snapshot", "-h", NOWHERE, "--rescue"),
    ("audit", "--audit-log"),
    ("demo", "--max-connections"),
    ("--theme",),
    ("--on-alert",),
    ("snapshot", "-h", NOWHERE),
    ("snapshot", "-h", NOWHERE, "-d"),
    ("snapshot", "--no-such"),
)

VARIABLES = ("PGHOST", "PGPORT", "PGUSER", "PGHOSTADDR", "PGSERVICE", "PGSSLMODE", "PGTOP_HOST", "PGTOP_PORT")


@contextlib.contextmanager
def printed() -> Iterator[list[str]]:
    """All that is printed meanwhile, in the list at the end."""
    told: list[str] = []
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield told
    finally:
        signal.signal(signal.SIGTERM, before)
    out.flush()
    told.append(out.buffer.getvalue().decode() + err.getvalue())  # type: ignore[attr-defined]


def output(home: Path, arguments: tuple[str, ...], **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "XDG_"))}
    environ = {**kept, "HOME": str(home), **variables}
    with mock.patch.dict(os.environ, environ, clear=True), printed() as told:
        run_here(arguments)
    return told[0]


def forms(secret: str) -> dict[str, str]:
    quoted = secret.replace("\\", "\\\\").replace("'", "\\'")
    return {"raw": secret, "encoded": quote(secret, safe=""), "quoted": quoted}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=PASSWORDS)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[-1])
def test_no_bad_command_line_repeats_a_password(tmp_path: Path, place: tuple[str, ...], secret: str) -> None:
    made = forms(secret)
    for form in GIVEN:
        value = form.format(**made)
        if value.startswith("-"):
            continue
        said = output(tmp_path, (*place, value))
        assert not any(each in said for each in made.values()), said


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=PASSWORDS)
@pytest.mark.parametrize("variable", VARIABLES)
def test_no_variable_comes_back_with_a_password(tmp_path: Path, variable: str, secret: str) -> None:
    made = forms(secret)
    for form in GIVEN:
        said = output(tmp_path, ("snapshot", "-d", "x"), **{variable: form.format(**made)})
        assert not any(each in said for each in made.values()), said


SECRET = "hunter2 or so"  # noqa: S105 - nobody's


@pytest.mark.parametrize("flag", ["-h", "-p", "-U", "--service"])
def test_a_conninfo_in_the_wrong_place_is_named_as_one(tmp_path: Path, flag: str) -> None:
    """It goes neither to the DNS nor to a server, and the part before the password stays."""
    done = run(tmp_path, "snapshot", flag, f"postgresql://app:{SECRET}@db1/shop")
    assert_one_line(done, 2, "postgresql://app:***")
    assert "hunter2" not in done.stderr
    assert "or so" not in done.stderr


def test_a_key_and_a_servers_name_hide_a_password(tmp_path: Path) -> None:
    uri = f"postgresql://app:{SECRET}@db1/shop"
    for text in (f'"{uri}" = 1\n', f'[servers."{uri}"]\nnonsense = 1\n', f'interval = "{uri}"\n'):
        write_config(tmp_path, text)
        done = run(tmp_path, "config")
        assert_one_line(done, 2, "postgresql://app:***")
        assert "hunter2" not in done.stderr
    write_config(tmp_path, "")
    done = run(tmp_path, "config", f"@{uri}")
    assert_one_line(done, 2, "no server is named")
    assert "hunter2" not in done.stderr


def test_a_password_where_a_uri_lacks_its_host_is_not_shown(tmp_path: Path) -> None:
    done = run(tmp_path, "snapshot", "postgresql://app:hunter2")
    assert_one_line(done, 2, "invalid port number")
    assert "hunter2" not in done.stderr


def test_the_settings_in_force_show_no_password(tmp_path: Path) -> None:
    """An alert's command may have one among its arguments."""
    for more in ((), ("--json",)):
        done = run(tmp_path, "config", "--on-alert", "true --password=hunter2", *more)
        assert done.returncode == 0
        assert "true --password=***" in done.stdout
        assert "hunter2" not in done.stdout
