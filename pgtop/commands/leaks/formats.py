"""The findings for other programs: JSON, SARIF and the annotations of a GitHub workflow."""

import os
from pathlib import Path, PurePath
from typing import Any, Final
from urllib.parse import quote

from pgtop import __version__
from pgtop.core.diagnosis.statements import fingerprint
from pgtop.core.json_text import json_line
from pgtop.leaks.findings import Finding, Place, Rule
from pgtop.leaks.survey import Survey

SCHEMA: Final = 1
"""The version of the JSON object."""
SHORT: Final[dict[Rule, str]] = {
    Rule.NEVER_CLOSED: "A connection, session or pool is never closed",
    Rule.NOT_IN_FINALLY: "An error or a return leaves a connection open",
    Rule.WITH_PSYCOPG2: "A `with` on a psycopg2 connection leaves it open",
    Rule.WITH_GETCONN: "A `with` on a pool's connection does not give it back",
    Rule.GENERATOR_LEFT_EARLY: "A generator that lends a connection is left before its end",
    Rule.POOL_RACE: "Two first callers make two pools",
    Rule.POOL_PER_CALL: "A pool is made again and again",
    Rule.HELD_ACROSS_NETWORK: "A connection is held while the code waits for somebody else",
    Rule.NO_ACQUIRE_TIMEOUT: "Taking a connection may wait for ever",
    Rule.NO_MAX_SIZE: "A pool leaves its size to the default",
    Rule.NO_COMMAND_TIMEOUT: "Statements may run for ever",
    Rule.NO_APPLICATION_NAME: "Sessions have no name on the server",
}
"""The rules in a few words."""


def json_text(result: Survey, statement: str | None) -> str:
    """Return the survey as one JSON object."""
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "files": result.files,
        "findings": [
            _finding(each) | ({"statement": match.name.lower()} if statement is not None else {})
            for each, match in result.findings
        ],
        "kept": [_finding(each) for each in result.silenced],
        "unreadable": [{"path": _text(each.path), "reason": each.reason} for each in result.unreadable],
    }
    if statement is not None:
        found["statement"] = _text(fingerprint(statement))
        found["places"] = [
            _place(each.place)
            | {"function": each.function, "taken_by": each.taken_by, "statement": each.match.name.lower()}
            for each in result.takings
        ]
    return json_line(found)


def _finding(each: Finding) -> dict[str, Any]:
    found: dict[str, Any] = {"rule": each.rule.value, **_place(each.place)}
    found |= {"function": each.function, "message": each.message}
    if each.sink is not None:
        found["sink"] = _place(each.sink)
    if each.silenced is not None:
        found["reason"] = each.silenced
    return found


def _text(text: str) -> str:
    r"""Return a text that JSON can hold: bytes of a file's name that are not UTF-8 become `\xff`."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _place(place: Place) -> dict[str, Any]:
    return {"path": _text(place.path), "line": place.line, "column": place.column}


def sarif_text(result: Survey) -> str:
    """Return the survey as SARIF 2.1.0 (OASIS), which code scanning reads."""
    results = [_sarif_result(each.finding) for each in result.findings]
    results += [
        _sarif_result(each) | {"suppressions": [{"kind": "inSource", "justification": each.silenced}]}
        for each in result.silenced
    ]
    driver = {
        "name": "pgtop leaks",
        "version": __version__,
        "rules": [{"id": each.value, "shortDescription": {"text": SHORT[each]}} for each in Rule],
    }
    notifications = [
        {
            "level": "warning",
            "message": {"text": f"{_text(each.path)} is skipped: {each.reason}"},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(each.path)}}}],
        }
        for each in result.unreadable
    ]
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notifications}],
        "results": results,
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json_line({"$schema": schema, "version": "2.1.0", "runs": [run]})


def _sarif_result(each: Finding) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": each.rule.value,
        "level": "warning",
        "message": {"text": each.message},
        "locations": [_sarif_location(each.place)],
    }
    if each.sink is not None:
        found["relatedLocations"] = [_sarif_location(each.sink)]
    return found


def _sarif_location(place: Place) -> dict[str, Any]:
    region = {"startLine": place.line, "startColumn": place.column}
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(place.path)}, "region": region}}


def _uri(path: str) -> str:
    """Return a path as a reference to a URI: relative, or with the scheme `file` if it is absolute."""
    if PurePath(path).is_absolute():
        return Path(path).as_uri()
    return quote(os.fsencode(PurePath(path).as_posix()))


def github_text(result: Survey) -> str:
    """Return the findings as commands that make a GitHub workflow annotate the lines."""
    return "".join(
        f"::error file={_property(each.place.path)},line={each.place.line},col={each.place.column},"
        f"title={_property(each.rule.value)}::{_data(each.message)}\n"
        for each, _ in result.findings
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
