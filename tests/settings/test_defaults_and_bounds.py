"""The settings in force: defaults, bounds, and how a bad one is named."""

import math
from pathlib import Path

import msgspec
import pytest

from pgtop.errors import UsageError
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Config, Given, default_audit_log, in_force
from pgtop.settings.option_types import Fraction


def one(key: str, value: object, source: str = "--flag") -> Config:
    """What is in force when one setting is given."""
    return in_force({key: Given(value, str(value), source)})


def test_without_anything_given_the_defaults_are_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """The design's defaults, and an audit log in the user's state directory."""
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    config = in_force({})
    assert (config.interval_seconds, config.warn_at, config.idle_after_seconds) == (2.0, 0.8, 300.0)
    assert config.audit_log == default_audit_log()
    assert config.audit_log is not None
    assert config.audit_log.parts[-2:] == ("pgtop", "audit.jsonl")


@pytest.mark.parametrize(
    ("key", "accepted", "refused"),
    [
        ("interval_seconds", (0.1, 2, 3600), (0, 0.0999, 3600.1, -1, math.nan, math.inf)),
        ("warn_at", (0.001, 0.8, 1, 1.0), (0, -0.1, 1.0001, 80, math.nan)),
        ("idle_after_seconds", (1, 300, 30 * 86_400), (0, 0.5, 31 * 86_400, math.nan, math.inf)),
    ],
)
def test_bounds_hold(key: str, accepted: tuple[float, ...], refused: tuple[float, ...]) -> None:
    """A bound itself is accepted, what lies beyond is refused, and the error tells source and mend."""
    for value in accepted:
        assert getattr(one(key, value), key) == value
    for value in refused:
        with pytest.raises(UsageError) as caught:
            one(key, value, "PGTOP_SOMETHING")
        assert caught.value.exit_code is ExitCode.USAGE
        assert f'PGTOP_SOMETHING cannot be "{value}"' in caught.value.problem
        assert caught.value.mend.startswith("give ")


def test_the_audit_log_is_a_file_or_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dash is standard error, a tilde is the home directory, a file named so needs `./-`."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert one("audit_log", "-").audit_log is None
    assert one("audit_log", "~/a.jsonl").audit_log == Path("/home/somebody/a.jsonl")
    assert one("audit_log", "./-").audit_log == Path("-")


@pytest.mark.parametrize("path", ["", "a\0b", "~nobody-of-this-name/a"])
def test_a_bad_path_is_refused(path: str) -> None:
    """The error names the flag and what it takes, and is printable."""
    with pytest.raises(UsageError) as caught:
        one("audit_log", path, "--audit-log")
    assert str(caught.value).startswith("--audit-log cannot be ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("written", ["", " ", "page 'on call", "''", 'a"', "a\0b"])
def test_a_bad_command_is_refused(written: str) -> None:
    with pytest.raises(UsageError) as caught:
        one("on_alert", written, "--on-alert")
    assert str(caught.value).startswith("--on-alert cannot be ")
    assert "there is no shell" in caught.value.mend
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("key", ["applications", "users", "databases"])
@pytest.mark.parametrize("pattern", ["a\0b", "*" + "x" * 64, "web-*" + "é" * 40])
def test_a_pattern_that_cannot_match_is_refused(key: str, pattern: str) -> None:
    """Filters and protections alike, with the reason."""
    for each in (key, f"protect_{key}"):
        with pytest.raises(UsageError) as caught:
            one(each, ("web", pattern), "--some-option")
        assert str(caught.value).startswith("--some-option cannot match a name: ")
        assert "cut at 63 bytes" in str(caught.value) or "no name holds a NUL" in str(caught.value)
        assert str(caught.value).isprintable()
        assert one(each, ("x" * 77, "é" * 40 + "*", "web [0 of 5]", "[z-a]"))


@pytest.mark.parametrize("name", ["", "pgtop", "Dark", "textual-dark", "ansi-dark"])
def test_an_unknown_theme_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        one("theme", name, "--theme")
    assert caught.value.mend == "give dark, light, ansi or colour-blind"


def test_an_unknown_setting_is_refused() -> None:
    """Nothing that is given is left out of account."""
    with pytest.raises(UsageError, match="idle_aftr"):
        one("idle_aftr", 3)


def test_settings_are_frozen() -> None:
    """What is in force stays so for the whole run."""
    with pytest.raises(AttributeError):
        in_force({}).warn_at = 0.5  # type: ignore[misc]  # that is the point
    assert msgspec.structs.replace(in_force({}), warn_at=0.5).warn_at == 0.5


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("80%", 0.8), ("80 %", 0.8), ("0.8", 0.8), (".5", 0.5), ("1", 1.0), ("62.5%", 0.625)],
)
def test_a_fraction_is_a_number_or_a_percentage(text: str, fraction: float) -> None:
    """Both ways of writing it mean the same."""
    assert Fraction().read(text) == fraction


@pytest.mark.parametrize("text", ["", "%", "80%%", "-1", "nan", "inf", "1e3", "0,8", "٣", "0.8x", "\x1b"])
def test_a_bad_fraction_is_refused(text: str) -> None:
    """The error is printable, whatever was typed."""
    with pytest.raises(ValueError, match="is not a fraction") as caught:
        Fraction().read(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", [5, True, b"a", ["a"], "", "a\0b", "~nobody-of-that-name/a"])
def test_a_value_that_is_not_a_path_is_refused_by_its_source(value: object) -> None:
    """Also where its source let another type pass: no setting ends pgtop without a word of which it was."""
    with pytest.raises(UsageError, match="--audit-log cannot be"):
        in_force({"audit_log": Given(value, str(value), "--audit-log")})
