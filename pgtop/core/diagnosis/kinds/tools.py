"""People's own tools: left open, each with a few sessions, for hours."""

import re
from collections import Counter
from typing import Final

from pgtop.core.activity import IDLE, Backend
from pgtop.core.diagnosis.findings import ACT_KEYS, Advice, Finding, Grade, Kind, Remedy
from pgtop.core.diagnosis.scene import Scene, addresses_of, one_value
from pgtop.core.diagnosis.wording import age, application_name, earliest, named, set_for_role
from pgtop.core.plan import Act
from pgtop.core.session_labels import NO_USER, label

TOOLS: Final = re.compile(
    r"(dbeaver|pgadmin|datagrip|intellij|pycharm|rubymine|goland|psql|pgcli|tableplus|navicat|postico"
    r"|beekeeper|heidisql|squirrel|toad|sqlworkbench|sql workbench|azuredatastudio|vscode|antares|valentina"
    r"|dbvisualizer|tableau|power ?bi|excel|metabase|redash|superset|jupyter|rstudio)",
    re.IGNORECASE,
)
"""The application_name that such tools give themselves begins so."""

_ROLES: Final = 8
"""The most roles that are named, and for which a statement is shown."""


def find(scene: Scene) -> list[Finding]:
    """Return all of them together, if there are enough."""
    there = [
        each
        for name, rows in scene.by_name.items()
        if TOOLS.match(name)
        for _, members in rows
        for each in members
        if each.state == IDLE and scene.rests_for(each, scene.thresholds.tools)
    ]
    return [_of(scene, there)] if len(there) >= scene.floor else []


def _of(scene: Scene, there: list[Backend]) -> Finding:
    by_tool = Counter(_short(each) for each in there).most_common()
    by_role = Counter(label(each.usename, NO_USER) for each in there).most_common()
    oldest = earliest(each.state_change for each in there)
    sentence, *shorter = _sentences(len(there), by_tool, by_role, age(oldest, scene.now))
    return Finding(
        kind=Kind.TOOLS,
        grade=Grade.LOOKS_LIKE,
        slots=len(there),
        sentence=sentence,
        shorter=tuple(shorter),
        backends=tuple(each.id for each in there),
        application_name=one_value(each.application_name for each in there),
        usename=one_value(each.usename for each in there),
        datname=one_value(each.datname for each in there),
        addresses=addresses_of(there),
        since=oldest,
        evidence=(
            ("sessions of tools, idle for long", str(len(there))),
            ("tools", named(by_tool, 6)),
            ("roles", named(by_role, _ROLES)),
            ("longest idle", age(oldest, scene.now)),
        ),
        remedy=Remedy(Act.TERMINATE, tuple(each.id for each in there)),
        advice=(
            Advice("Terminate them: whoever comes back reconnects", key=ACT_KEYS),
            _prevention(_roles_of_people(scene, there)),
        ),
    )


def _sentences(
    number: int, by_tool: list[tuple[str, int]], by_role: list[tuple[str, int]], longest: str
) -> tuple[str, ...]:
    tools, idle = f"{number} of people's tools", f"idle for up to {longest}"
    return (
        f"{tools} ({named(by_tool)}; {named(by_role, _ROLES)}), {idle}",
        f"{tools} ({named(by_tool)}; {named(by_role)}), {idle}",
        f"{tools} ({named(by_tool)}), {idle}",
        f"{tools} ({named(by_tool)})",
        f"{tools} ({named(by_tool, 1)})",
        tools,
    )


def _prevention(roles: list[str]) -> Advice:
    if not roles:
        # A setting of theirs would close the sessions of the application's pools, too.
        return Advice("An application uses these roles too: give people roles of their own")
    most = f": here of {_ROLES}, and of {len(roles) - _ROLES} more alike" if len(roles) > _ROLES else ""
    return Advice(
        f"Let the server close idle sessions of people{most}",
        sql="\n".join(set_for_role(each, "idle_session_timeout", "30min") for each in roles[:_ROLES]),
    )


def _roles_of_people(scene: Scene, there: list[Backend]) -> list[str]:
    """Return the roles that no application uses, the one with most of them first."""
    used = {each.usename for each in scene.snapshot.backends if not TOOLS.match(each.application_name or "")}
    roles = Counter(each.usename for each in there if each.usename and each.usename not in used)
    return [name for name, _ in roles.most_common()]


def _short(backend: Backend) -> str:
    """Return the tool's name without what it says of its version or window."""
    return application_name(backend).split(" - ")[0].split(" ")[0]
