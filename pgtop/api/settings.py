"""The settings of the api: those of the configuration that count here, by the same names and defaults."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypedDict

from pgtop.core.diagnosis.findings import Kind
from pgtop.core.plan import ReapPolicy
from pgtop.core.session_patterns import Patterns
from pgtop.errors import UsageError
from pgtop.postgres.conninfo.rescue_role import with_rescue
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.conninfo.target import Target
from pgtop.settings.defaults_and_bounds import STANDARD_ERROR, Config, Given, in_force

_SECRETS: Final = frozenset({"rescue"})


class Settings(TypedDict, total=False):
    """The settings by the fields of `Config`, which says what each means. Durations are seconds."""

    rescue: str | None
    wait_seconds: float
    interval_seconds: float
    warn_at: float
    idle_after_seconds: float
    emergency_idle_after_seconds: float
    include_idle_in_transaction_seconds: float | None
    include_advisory_locks: bool
    include_listeners: bool
    max_per_sweep: int | None
    applications: tuple[str, ...]
    users: tuple[str, ...]
    databases: tuple[str, ...]
    addresses: tuple[str, ...]
    findings: tuple[Kind, ...]
    protect_applications: tuple[str, ...]
    protect_users: tuple[str, ...]
    protect_databases: tuple[str, ...]
    protect_addresses: tuple[str, ...]
    default_protections: bool
    hide_queries: bool
    every_seconds: float
    login_probe_seconds: float
    audit_log: str | Path
    audit_max_size_bytes: int
    audit_keep: int


def config_of(settings: Mapping[str, object], *, has_stream: bool) -> Config:
    """Return the settings in force. A stream for the audit log leaves no room for a file.

    Raises UsageError, which names the setting and what it accepts.
    """
    known = Settings.__annotations__.keys() | {"read_only"}
    unknown = sorted(settings.keys() - known)
    if unknown:
        raise UsageError(f"{unknown[0]} is not a setting of the api", "see pgtop docs api")
    values = dict(settings)
    if isinstance(log := values.get("audit_log"), Path):
        values["audit_log"] = str(log)
    if has_stream and "audit_log" in values:
        raise UsageError("audit_log and audit_stream cannot be used together", "leave one of them out")
    if values.get("audit_log", "") in (None, STANDARD_ERROR):
        raise UsageError(
            f'audit_log cannot be "{STANDARD_ERROR}" in the api', "name a file, or give an audit_stream"
        )
    if has_stream:
        values["audit_log"] = None
    given = {
        name: Given(value, "…" if name in _SECRETS else str(value), name) for name, value in values.items()
    }
    return in_force(given)


def checked(policy: ReapPolicy) -> ReapPolicy:
    """Return the rules that a program gives, as the configuration would take them.

    Rules out of its bounds would not fail but match other sessions: a name in place of a tuple of names is
    one pattern for each of its letters. Raises UsageError, which names the field and what it accepts.
    """
    if not isinstance(policy, ReapPolicy):
        raise UsageError("the policy is not a ReapPolicy", "see pgtop docs api")
    values = {each: getattr(policy, each) for each in policy.__struct_fields__}
    names = {each: f"policy.{each}" for each in values}
    for field, prefix in (("only", ""), ("protected", "protect_")):
        patterns = values.pop(field)
        if not isinstance(patterns, Patterns):
            raise UsageError(f"policy.{field} is not a Patterns", "see pgtop docs api")
        for each in patterns.__struct_fields__:
            values[prefix + each] = getattr(patterns, each)
            names[prefix + each] = f"policy.{field}.{each}"
    in_force({each: Given(value, str(value), names[each]) for each, value in values.items()})
    return policy


def target_of(conninfo: str | None, rescue: str | None) -> Target:
    """Return the server to connect to, with its rescue role if there is one. Raises UsageError."""
    if not isinstance(conninfo, str | None):
        raise UsageError("the conninfo is not a text", "give a URI, key=value pairs or a database's name")
    target = resolve(conninfo, {}, os.environ)
    return with_rescue(target, rescue, "rescue", os.environ) if rescue else target
