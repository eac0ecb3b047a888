"""The configuration file through the real command: its values, what beats them, how a bad one is named."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.config_files import settings_in_force, write_config
from tests.support.running import assert_one_line, run

CONFIG = """
warn_at = "70%"
idle_after = "10min"
protect_application = ["etl*", "billing"]
default_protections = false
[servers.prod]
conninfo = "host=db1 port=5433 user=ops dbname=shop"
warn_at = 0.6
application = "web*"
[servers.locked]
conninfo = "postgresql://db2/x"
read_only = true
[servers.empty]
every = 90
"""


def test_without_a_file_all_are_defaults(tmp_path: Path) -> None:
    settings = settings_in_force(tmp_path)["settings"]
    assert {each["source"] for each in settings.values()} == {"default"}
    assert settings["warn_at"]["value"] == 0.8


def test_sources_rise_in_order(tmp_path: Path) -> None:
    """Default, file, section, variable, flag; each value tells where it came from."""
    path = write_config(tmp_path, CONFIG)

    def warn_at(*arguments: str, **rest: Any) -> tuple[float, str]:
        found = settings_in_force(tmp_path, *arguments, **rest)["settings"]["warn_at"]
        return found["value"], found["source"]

    variables = {"PGTOP_WARN_AT": "0.5"}
    assert warn_at() == (0.7, f"{path}: warn_at")
    assert warn_at("@prod") == (0.6, f"{path}: servers.prod.warn_at")
    assert warn_at("@prod", variables=variables) == (0.5, "PGTOP_WARN_AT")
    assert warn_at("@prod", "--warn-at", "0.4", variables=variables) == (0.4, "--warn-at")


def test_values_of_every_kind(tmp_path: Path) -> None:
    write_config(
        tmp_path,
        CONFIG + 'conninfo = "host=db3"\naudit_max_size = "1MB"\nmax_per_sweep = 3\nlogin_probe = 0\n',
    )
    found = settings_in_force(tmp_path, "@empty")["settings"]
    keys = ("idle_after", "protect_application", "default_protections", "every", "audit_max_size")
    assert [found[key]["value"] for key in keys] == [600.0, ["etl*", "billing"], False, 90.0, 2**20]
    assert (found["max_per_sweep"]["value"], found["login_probe"]["value"]) == (3, 0)


def test_the_dashboards_own_settings(tmp_path: Path) -> None:
    write_config(tmp_path, 'wall = true\nbell = false\ntheme = "light"\non_alert = "true \'on call\'"\n')
    found = settings_in_force(tmp_path)["settings"]
    keys = ("wall", "bell", "theme", "on_alert")
    assert [found[key]["value"] for key in keys] == [True, False, "light", "true 'on call'"]


def test_saved_filters_are_listed(tmp_path: Path) -> None:
    path = write_config(tmp_path, '[filters]\nstale-web = "app:web idle>5m"\nsecrets = "password=hunter2"\n')
    found = settings_in_force(tmp_path)["filters"]
    assert list(found) == ["stale-web", "secrets"]
    assert found["stale-web"] == {"value": "app:web idle>5m", "source": f"{path}: filters.stale-web"}
    shown = run(tmp_path, "config").stdout
    assert "filters.stale-web" in shown
    assert "app:web idle>5m" in shown
    assert "hunter2" not in shown
    write_config(tmp_path, "")
    assert settings_in_force(tmp_path)["filters"] == {}


def test_a_servers_colour_is_of_its_section_alone(tmp_path: Path) -> None:
    write_config(tmp_path, '[servers.prod]\nconninfo = "host=db1"\ncolor = "red"\n')
    assert settings_in_force(tmp_path, "@prod")["settings"]["color"]["value"] == "red"
    assert settings_in_force(tmp_path)["settings"]["color"]["value"] is None
    assert_one_line(run(tmp_path, "config", "--color", "red"), 2, "--color")


def test_a_named_server_is_where_it_connects(tmp_path: Path) -> None:
    """Flags win over the section's conninfo."""
    write_config(tmp_path, CONFIG)
    assert settings_in_force(tmp_path, "@prod")["server"] == "db1:5433/shop as ops"
    assert (
        settings_in_force(tmp_path, "@prod", "-U", "me", "-d", "y", "-h", "h")["server"] == "h:5433/y as me"
    )
    assert_one_line(run(tmp_path, "snapshot", "@prodd"), 2, "no server is named prodd", "did you mean prod?")
    assert_one_line(run(tmp_path, "reap", "@empty"), 2, "servers.empty has no conninfo")


def test_read_only_in_the_file_wins_over_all(tmp_path: Path) -> None:
    write_config(tmp_path, CONFIG)
    no = {"PGTOP_READ_ONLY": "0"}
    assert settings_in_force(tmp_path, "@locked", variables=no)["settings"]["read_only"]["value"] is True
    assert_one_line(run(tmp_path, "reap", "@locked", "--always", variables=no), 2, "read_only")
    assert settings_in_force(tmp_path, "@prod")["settings"]["read_only"]["value"] is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("warn_att = 1", "config.toml: warn_att is not a setting|did you mean warn_at?"),
        ("[servers.prod]\nwarn_att = 1", "config.toml: servers.prod.warn_att is not a setting|warn_at?"),
        ("[servers.other]\nwarn_at = 7", 'servers.other.warn_at cannot be "7"|percentage'),
        ("interval = true", "config.toml: interval|give a text"),
        ('interval = "soon"', 'config.toml: interval|"soon" is not a duration'),
        ("interval = nan", "config.toml: interval cannot be"),
        ("read_only = 1", "config.toml: read_only|true or false"),
        ('[servers.prod]\ncolor = "pink"', 'servers.prod.color cannot be "pink"|red, orange, yellow'),
        ("[servers.prod]\ncolor = 3", "config.toml: servers.prod.color|give a text"),
        ('[servers.prod]\ncolour = "red"', "servers.prod.colour is not a setting|did you mean color?"),
        ("application = [1]", "config.toml: application|list of texts"),
        ('address = "db1"', 'config.toml: address cannot be "db1"'),
        ("servers = 1", "config.toml: servers is not a table"),
        ("a = 1\nb = ?\n", "config.toml is not TOML|line 2"),
        (f"max_per_sweep = {'1' * 5000}", "config.toml is not TOML|digits"),
        ("filters = 1", "config.toml: filters is not a table|[filters]"),
        ("[filters]\nweb = 1", "config.toml: filters.web is not text|app:web"),
        ("[filters]\nweb = '  '", "config.toml: filters.web cannot be|give words"),
        ('[filters]\nweb = "a\\nb"', "config.toml: filters.web cannot be|give words"),
        ('[filters]\n" " = "a"', "is not a name for a filter"),
        ("filter = 1", "config.toml: filter is not a setting|did you mean filters?"),
        ("max_per_sweep = 1.5", "config.toml: max_per_sweep cannot be"),
    ],
)
def test_an_error_names_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    write_config(tmp_path, text)
    assert_one_line(run(tmp_path, "config"), 2, *words.split("|"))


def test_a_file_that_was_asked_for_has_to_be_there(tmp_path: Path) -> None:
    assert_one_line(run(tmp_path, "snapshot", "--config", "none.toml"), 2, "none.toml", "no such file")
    assert_one_line(run(tmp_path, "snapshot", variables={"PGTOP_CONFIG": str(tmp_path)}), 2, "cannot be read")
    write_config(tmp_path, "warn_at = 0.3", "own.toml")
    assert settings_in_force(tmp_path, "--config", "own.toml")["settings"]["warn_at"]["value"] == 0.3


def test_a_password_is_never_shown_nor_left_open(tmp_path: Path) -> None:
    path = write_config(tmp_path, '[servers.p]\nconninfo = "postgresql://u:hunter2@db1/x"\n')
    done = run(tmp_path, "config", "@p")
    assert done.returncode == 0
    assert "db1:5432/x as u" in done.stdout
    assert "hunter2" not in done.stdout
    path.chmod(0o640)
    done = run(tmp_path, "config", "@p")
    assert_one_line(done, 2, "others may read it", "chmod 600")
    assert "hunter2" not in done.stderr


def test_the_table_tells_value_and_source(tmp_path: Path) -> None:
    write_config(tmp_path, CONFIG)
    lines = [line.split() for line in run(tmp_path, "config", "@prod").stdout.splitlines()]
    assert [
        "application",
        "web*",
        str(tmp_path / ".config/pgtop/config.toml:"),
        "servers.prod.application",
    ] in lines
    assert ["interval", "2s", "default"] in lines


def test_the_demo_takes_no_file_that_nobody_asked_for(tmp_path: Path) -> None:
    """The demo does not mind what is wrong in it; one that is named counts."""
    path = write_config(tmp_path, "nonsense = 1\n")
    arguments = ("demo", "--no-dashboard", "--max-connections", "3")
    assert_one_line(run(tmp_path, *arguments), 2, "--max-connections")
    assert_one_line(run(tmp_path, *arguments, "--config", str(path)), 2, "nonsense")


def test_the_place_of_the_history_or_its_lack_is_shown(tmp_path: Path) -> None:
    """A path or false in the file; --history and --no-history; a flag beats a variable, either a file."""

    def history(*arguments: str, **rest: Any) -> tuple[Any, str]:
        found = settings_in_force(tmp_path, *arguments, **rest)["settings"]["history"]
        return found["value"], found["source"]

    default = str(tmp_path / ".local/state/pgtop/history.sqlite3")
    assert history() == (default, "default")
    assert history("--history", "~/h.sqlite3") == (str(tmp_path / "h.sqlite3"), "--history")
    assert history("--no-history") == (False, "--no-history")
    path = write_config(
        tmp_path, 'history = false\n[servers.wall]\nconninfo = "host=db1"\nhistory = "/var/h"\n'
    )
    assert history() == (False, f"{path}: history")
    assert history("@wall") == ("/var/h", f"{path}: servers.wall.history")
    assert history("@wall", "--no-history") == (False, "--no-history")
    assert history("--history", "/h") == ("/h", "--history")
    assert history("--history", "/h", variables={"PGTOP_NO_HISTORY": "1"}) == ("/h", "--history")
    assert history("--no-history", variables={"PGTOP_HISTORY": "/h"}) == (False, "--no-history")
    assert history(variables={"PGTOP_NO_HISTORY": "1"}) == (False, "PGTOP_NO_HISTORY")
    assert history(variables={"PGTOP_HISTORY": "/h"}) == ("/h", "PGTOP_HISTORY")
    assert history(variables={"PGTOP_NO_HISTORY": "0"}) == (False, f"{path}: history")
    assert_one_line(
        run(tmp_path, "config", "--no-history", "--history", "/h"), 2, "--no-history", "leave one"
    )
    lines = run(tmp_path, "config").stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("history ")] == ["false"]


@pytest.mark.parametrize("value", ["true", "1", "[]", '""'])
def test_a_history_is_a_path_or_false(tmp_path: Path, value: str) -> None:
    write_config(tmp_path, f"history = {value}\n")
    assert_one_line(run(tmp_path, "config"), 2, "config.toml: history")
