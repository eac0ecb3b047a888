"""The manual is complete and true: options, keys, exit codes, settings, metrics, links, errors, words."""

import ast
import json
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from textual.binding import Binding

from pgtop.audit.log import AuditLine
from pgtop.commands.all_commands import COMMANDS
from pgtop.commands.command import split_command
from pgtop.commands.config.table import lines, render
from pgtop.commands.dashboard import DASHBOARD
from pgtop.commands.docs import FIRST_PAGE, PAGES, page_names
from pgtop.commands.record.listing import RecordingReport
from pgtop.commands.replay.lines import VerdictLine
from pgtop.core.activity import ConnectionLimit, LimitOf
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.diagnosis.report import AddressReport, AdviceReport, DiagnosisReport, FindingReport
from pgtop.core.history_json import (
    ActReport,
    ApplicationTotal,
    CauseReport,
    ChangeReport,
    EpisodeReport,
    GrowthReport,
    HistoryReport,
    OutageSpanReport,
    OutcomeReport,
    PeakReport,
    SecondsReport,
    UnrecordedReport,
)
from pgtop.core.outage import Limit
from pgtop.core.plan import Outcome, Trigger
from pgtop.core.retaken_slots import Rebound
from pgtop.core.snapshot_json import (
    ApplicationReport,
    BackendReport,
    ConnectionLimitReport,
    OutageReport,
    OutageWords,
    RecordedReport,
    ServerReport,
    SnapshotReport,
)
from pgtop.daemon.metrics import FiguresCollector
from pgtop.demo.server import ThrowawayServer
from pgtop.exit_codes import ExitCode
from pgtop.reaping.report_json import (
    CanaryApplicationReport,
    CanaryStepsReport,
    ReapReport,
    SessionReport,
)
from pgtop.settings.defaults_and_bounds import in_force
from pgtop.settings.file import file_keys
from pgtop.settings.option_types import Option
from pgtop.tui.alerts.command_hook import AlertReport
from pgtop.tui.app import PgtopApp
from pgtop.tui.dashboard import DashboardScreen
from pgtop.tui.manual_viewer import ManualApp
from pgtop.tui.player import PlayerScreen
from pgtop.tui.screens.automatic_dialog import AutomaticDialog
from pgtop.tui.screens.column_menu import ColumnMenu
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.lock_tree import LockTreeScreen
from pgtop.tui.screens.plan_dialog import PlanDialog
from pgtop.tui.widgets.filter_line import FilterLine
from pgtop.tui.widgets.line_table import LineTable
from tests.builders import figures_of
from tests.servers import REPOSITORY
from tests.support.manual_pages import (
    AROUND,
    MANUAL,
    anchors,
    blocks,
    codes,
    headings,
    links,
    page,
    prose,
    rows,
    section,
    unfenced,
)
from tests.support.running import run
from tests.support.sources import parsed

ALL_PAGES = [*MANUAL, *AROUND]
PAGE_OF = {"pgtop": "dashboard"} | {name: name for name in COMMANDS}
ALL_COMMANDS = {"pgtop": DASHBOARD, **COMMANDS}

KEYS = {
    "slash": "/",
    "comma": ",",
    "full_stop": ".",
    "asterisk": "*",
    "space": "Space",
    "escape": "Esc",
    "enter": "Enter",
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    **{f"f{number}": f"F{number}" for number in range(1, 11)},
    "tab": "Tab",
    "left": "←",
    "right": "→",
    "question_mark": "?",
    "up": "↑",
    "down": "↓",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "ctrl+c": "Ctrl+C",
    "ctrl+z": "Ctrl+Z",
    "backspace": "Backspace",
}
"""What the manual calls a key whose name in Textual differs."""
TEXTUALS_OWN = {"Tab", "Ctrl+P", "Enter"}
"""Keys of the manual that Textual binds itself, or the filter's line takes."""

OTHER_VARIABLES = {"PGTOP_DEBUG", "PGTOP_PG_BIN", "PGTOP_ALERT", "PGTOP_"}

FORBIDDEN = {
    r"\b(is|are|was|were) no\b(?! longer)": "is not a",
    r"\bso (long|many|much)\b(?! that)": "a number, or the parameter's name",
    r"\bnobody\b": "no session, or no one",
    r"(?<![\w-])[Bb]ackends?\b": "session",
    r"\b[Kk]ill(s|ed|ing)?\b": "terminate",
    r"\b[Ss]eats?\b": "connection, or slot",
    r"\b[Mm]end(s|ed|ing)?\b": "repair, or what to do",
    r"\banew\b": "again",
    r"\b(end|ends|ended|ending) (the |all |idle |stale |exactly |exactly the )*sessions?\b": "terminate",
    r"(^|[.:;] )[Ww]ho (?!may\b)[^?.]*\.": "whoever, or name the person",
    r"\bspares?\b|\bspared\b": "skip",
    r"\bof use\b|\bno use\b": "does not help",
}
"""HOUSE's countable rules for sentences: what no page says, and what it says instead."""


def binding_keys(*owners: Any) -> set[str]:
    """Return the keys of the bindings, as the manual calls them."""
    found = {key for owner in owners for each in owner.BINDINGS for key in Binding.make_bindings([each])}
    return {KEYS.get(each.key, each.key) for each in found}


def visible(command: click.Command) -> list[Option]:
    """Return the options that a command's help shows."""
    return [each for each in command.params if isinstance(each, Option) and not each.hidden]


# Options


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_each_option_is_on_its_command_s_page(name: str) -> None:
    """The long form of every option that the help shows; short forms here or on the page of connecting."""
    text = page(PAGE_OF[name])
    for option in visible(ALL_COMMANDS[name]):
        assert re.search(rf"`{option.long_flag}[ `]", text), option.long_flag
        for short in set(option.opts) - {option.long_flag}:
            assert f"`{short}`" in text + page("connecting"), short


@pytest.mark.parametrize("path", ALL_PAGES, ids=lambda path: path.name)
def test_each_option_that_is_named_exists(path: Path) -> None:
    known = {option.long_flag for command in ALL_COMMANDS.values() for option in visible(command)}
    others = {"--editable", "--quiet", "--runs", "--only", "--check", "--net", "--target", "--pager"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text(encoding="utf-8")))
    assert named <= known | others


@pytest.mark.parametrize("path", ALL_PAGES, ids=lambda path: path.name)
def test_each_example_is_a_command_line(path: Path) -> None:
    """What is shown to be typed is parsed by the command it names."""
    for line in examples(path.read_text(encoding="utf-8")):
        command, rest = split_command(shlex.split(line, comments=True), COMMANDS, DASHBOARD)
        with suppress(click.exceptions.Exit), command.make_context("pgtop", rest):
            pass


def examples(text: str) -> list[str]:
    """Return the arguments of each pgtop command line that is whole, in blocks and in sentences."""
    shown = [line for block in blocks(text, "sh") for line in block.splitlines()]
    shown += [code for code in codes(unfenced(text)) if re.match(r"(sudo .*)?pgtop ", code)]
    found = [re.match(r"(?:sudo (?:-u \w+ )?)?(?:\.venv/bin/)?pgtop(?: (.*))?$", line) for line in shown]
    given = [re.split(r" [|>] ", each[1] or "")[0] for each in found if each is not None]
    return [each for each in given if not re.search(r"…|<|COMMAND|PAGE|NAME|NUMBER|\bx\b", each)]


def test_there_are_examples_to_look_at() -> None:
    assert sum(len(examples(path.read_text(encoding="utf-8"))) for path in ALL_PAGES) > 60


# Keys


def test_each_key_of_the_dashboard_is_on_its_page() -> None:
    owners = (
        *(DashboardScreen, PgtopApp, LineTable, FilterLine),
        *(PlanDialog, AutomaticDialog, DetailScreen, LockTreeScreen),
    )
    shown = set(codes(page("dashboard")))
    for key in binding_keys(*owners):
        assert key in shown, key


def test_each_key_of_the_player_is_on_its_page() -> None:
    """Those that only look are on the dashboard's page."""
    shown = set(codes(page("replay"))) | set(codes(page("dashboard")))
    for key in binding_keys(PlayerScreen):
        assert key in shown, key


def test_each_key_of_the_viewer_is_on_its_page() -> None:
    shown = set(codes(page("docs")))
    for key in binding_keys(ManualApp):
        assert key in shown, key


@pytest.mark.parametrize(
    ("name", "owners"),
    [
        (
            "dashboard",
            (
                *(DashboardScreen, PgtopApp, LineTable, ColumnMenu),
                *(PlanDialog, DetailScreen, LockTreeScreen),
            ),
        ),
        ("replay", (PlayerScreen,)),
        ("docs", (ManualApp, LineTable)),
    ],
)
def test_each_key_in_the_tables_exists(name: str, owners: tuple[Any, ...]) -> None:
    keys = {key for row in rows(page(name)) for key in codes(row[0])}
    assert keys
    assert keys <= binding_keys(*owners) | TEXTUALS_OWN


# Exit codes, settings, variables


def test_each_exit_code_has_its_row() -> None:
    listed = [int(found) for found in re.findall(r"^\| (\d+) \|", page("exit-codes"), re.MULTILINE)]
    assert listed == [*map(int, ExitCode), 130]


@pytest.mark.parametrize("name", sorted({*PAGE_OF.values(), "daemon"}))
def test_each_command_s_page_tells_its_exit_codes(name: str) -> None:
    told = {int(code) for code in re.findall(r"(?<![\w.])\d+(?= [a-z])", section(page(name), "Exit codes"))}
    assert int(ExitCode.DONE) in told
    assert told <= {*map(int, ExitCode), 130}


def test_each_setting_has_its_row_and_default() -> None:
    """The rows are those of the file's keys, and the defaults those that `pgtop config` prints."""
    table = {
        codes(key)[0]: codes(default)[0]
        for key, default, _ in rows(section(page("configuration"), "Settings"))
    }
    assert table.keys() == file_keys().keys()
    shown = render("", Path("/nowhere"), lines(in_force({}), {}, None)).splitlines()
    defaults = dict(line.split()[:2] for line in shown if line.endswith("default"))
    for key, default in table.items():
        assert defaults[key].endswith(default.removeprefix("~")), key


def test_a_key_s_option_is_named_after_it() -> None:
    """As the page says, with its exceptions."""
    odd = {key for key, option in file_keys().items() if option.long_flag != f"--{key.replace('_', '-')}"}
    assert odd == {"bell", "default_protections", "record"}
    for word in (*odd, "history", "color"):
        assert f"`{word}`" in page("configuration").partition("### Connection")[0]


def test_each_variable_that_is_named_exists() -> None:
    known = {option.variable for command in ALL_COMMANDS.values() for option in visible(command)}
    for path in ALL_PAGES:
        named = set(re.findall(r"PGTOP_[A-Z_]*", path.read_text(encoding="utf-8")))
        assert named <= known | OTHER_VARIABLES, path


# What else is a contract


@pytest.mark.parametrize(
    ("name", "structs"),
    [
        (
            "snapshot",
            (
                SnapshotReport,
                ServerReport,
                ApplicationReport,
                ConnectionLimitReport,
                BackendReport,
                RecordedReport,
                OutageReport,
                OutageWords,
            ),
        ),
        ("diagnose", (DiagnosisReport, FindingReport, AddressReport, AdviceReport)),
        ("replay", (VerdictLine,)),
        ("record", (RecordingReport,)),
        ("reap", (ReapReport, SessionReport, CanaryStepsReport, CanaryApplicationReport)),
        ("audit", (AuditLine,)),
        (
            "history",
            (
                *(HistoryReport, EpisodeReport, SecondsReport, PeakReport, CauseReport, GrowthReport),
                *(
                    ActReport,
                    OutcomeReport,
                    ApplicationTotal,
                    OutageSpanReport,
                    ChangeReport,
                    UnrecordedReport,
                ),
            ),
        ),
        ("wall", (AlertReport,)),
    ],
)
def test_each_json_key_is_on_its_page(name: str, structs: tuple[type[msgspec.Struct], ...]) -> None:
    text = page(name) + (page("break-glass") if name == "reap" else "")
    missing = {key for each in structs for key in each.__struct_fields__ if key not in text}
    assert missing <= {"schema", "event"}


def test_each_metric_has_its_row() -> None:
    figures = figures_of("web")
    assert figures.snapshot is not None
    limits = (ConnectionLimit(LimitOf.ROLE, "app", 5),)
    figures.snapshot = msgspec.structs.replace(figures.snapshot, connection_limits=limits)
    figures.findings = (Finding(Kind.LEAK, Grade.LOOKS_LIKE, 1, ""),)
    figures.forecast = Forecast(0)
    figures.sweeps[Trigger.USAGE] = 1
    figures.outages["lost"] = 1
    figures.rebound[10.0] = Rebound(10.0, 1, {}, 0)
    told = {sample.name for family in FiguresCollector(figures).collect() for sample in family.samples}
    listed = {codes(row[0])[0].partition("{")[0] for row in rows(section(page("daemon"), "Prometheus"))}
    assert listed == told


def test_each_outcome_and_limit_is_explained() -> None:
    """Those that people read."""
    for outcome in Outcome:
        assert f"`{outcome}`" in page("reap") + page("audit")
    for limit in set(Limit) - {Limit.ROLE, Limit.DATABASE, Limit.UNKNOWN}:
        assert f"`{limit}`" in page("troubleshooting")


def test_each_topic_of_the_doctor_has_its_row(server: ThrowawayServer, tmp_path: Path) -> None:
    """Those that a real checkup gives."""
    done = run(tmp_path, "doctor", "--json", server.uri())
    topics = {finding["topic"] for finding in json.loads(done.stdout)["findings"]}
    listed = {topic for row in rows(section(page("doctor"), "What it looks at")) for topic in codes(row[0])}
    assert topics
    assert topics <= listed


# Links and headings


@pytest.mark.parametrize("path", ALL_PAGES, ids=lambda path: path.name)
def test_each_link_leads_somewhere(path: Path) -> None:
    """To a file that is there, and to a heading of it; a shipped page only to shipped pages."""
    for file, anchor in links(path):
        assert file.is_file(), file
        assert path not in MANUAL or file in MANUAL, file
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{file.name}#{anchor}"


def test_there_are_links_to_look_at() -> None:
    assert sum(1 for path in ALL_PAGES for _ in links(path)) > 100


def test_the_index_names_every_page_and_command() -> None:
    reached = {file.stem for file, _ in links(PAGES / f"{FIRST_PAGE}.md")}
    assert reached == set(page_names()) - {FIRST_PAGE}
    for command in COMMANDS:
        assert f"[`pgtop {command}`]" in page(FIRST_PAGE)


@pytest.mark.parametrize("path", ALL_PAGES, ids=lambda path: path.name)
def test_a_page_has_one_title_and_no_heading_twice(path: Path) -> None:
    found = headings(path.read_text(encoding="utf-8"))
    assert [each.level for each in found].count(1) == 1
    assert found[0].level == 1
    texts = [each.text for each in found]
    assert len(texts) == len(set(texts))


# Errors


def strings_of(source: str) -> set[str]:
    """Return the strings of a module; what an f-string fills in is `…`."""
    tree = parsed(source)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = (each.value if isinstance(each, ast.Constant) else "…" for each in node.values)
            found.add("".join(map(str, parts)))
    return found


@pytest.fixture(scope="module")
def strings() -> str:
    """All strings of the program, one a line."""
    sources = sorted((REPOSITORY / "pgtop").rglob("*.py"))
    return "\n".join(each for path in sources for each in strings_of(path.read_text(encoding="utf-8")))


ERRORS = [each.text for each in headings(page("troubleshooting")) if each.level == 3]


@pytest.mark.parametrize("heading", ERRORS)
def test_each_error_of_troubleshooting_is_the_program_s_own(strings: str, heading: str) -> None:
    """What stands between the `…` is found in the program's strings, in one of them and in this order."""
    pieces = [re.escape(piece) for piece in re.split(r"…", heading) if piece.strip(' ":()')]
    assert pieces
    assert re.search(".*".join(pieces), strings), heading


def test_there_are_errors_to_look_at() -> None:
    assert len(ERRORS) > 50


# Words


@pytest.mark.parametrize("path", ALL_PAGES, ids=lambda path: path.name)
def test_a_page_says_nothing_that_the_house_forbids(path: Path) -> None:
    """But in the text of errors, which is the program's own."""
    text = path.read_text(encoding="utf-8")
    if path.stem == "troubleshooting":
        text = re.sub(r"^### .*$", "", text, flags=re.MULTILINE)
    for forbidden, better in FORBIDDEN.items():
        found = re.search(forbidden, prose(text), re.MULTILINE)
        assert found is None, f"{found[0]!r}: better {better}"


@pytest.mark.parametrize("path", ALL_PAGES, ids=lambda path: path.name)
def test_no_line_of_a_page_is_too_long(path: Path) -> None:
    """Tables, headings and blocks aside, so that a page is read in a pipe as well."""
    for line in unfenced(path.read_text(encoding="utf-8")).splitlines():
        assert len(line) <= 110 or line.startswith(("|", "#", "!"))
