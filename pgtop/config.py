"""The settings in force: what may be set, within which bounds, and the one place where they are checked.

Sources rise in order: the defaults here, the environment, the flags. Whoever reads a source hands its values
over as `Given`s, so that a bad one is named as the person wrote it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pgtop.core.text import clip, printable
from pgtop.errors import UsageError

STANDARD_ERROR: Final = "-"
"""What is given for the audit log where it goes to standard error instead of a file."""


class Given(msgspec.Struct, frozen=True):
    """One setting as it was given."""

    value: object
    """In the setting's own unit."""
    written: str
    """As the person wrote it."""
    source: str
    """The flag or the variable it came by: `--warn-at`, `PGTOP_WARN_AT`."""


def default_audit_log() -> Path:
    """`audit.jsonl` in the user's state directory."""
    # Imported here: `pgtop --version` and a run with --audit-log need no platformdirs.
    from platformdirs import user_state_path

    return user_state_path("pgtop", appauthor=False) / "audit.jsonl"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in force for one run. Each bound's description is the mend that people read."""

    interval_seconds: Annotated[float, Meta(ge=0.1, le=3600, description="give 100ms to 1h")] = 2.0
    """From one poll's beginning to the next one's."""
    warn_at: Annotated[
        float, Meta(gt=0, le=1, description="give more than 0 and at most 1, or a percentage such as 80%")
    ] = 0.8
    """The line: a fraction of the slots."""
    idle_after_seconds: Annotated[float, Meta(ge=1, le=30 * 86_400, description="give 1s to 30d")] = 300.0
    """An idle session is stale after this."""
    audit_log: Path | None = msgspec.field(default_factory=default_audit_log)
    """Where acts are remembered; None for standard error."""


def in_force(given: Mapping[str, Given]) -> Config:
    """The defaults with what was given in their place, checked.

    Raises UsageError, naming the flag or variable and what it accepts, for a value out of bounds.
    """
    values = {key: setting.value for key, setting in given.items()}
    if values.get("audit_log") == STANDARD_ERROR:
        values["audit_log"] = None
    try:
        return msgspec.convert(values, Config, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise _refused(error, given) from error


def _decode(kind: type, value: object) -> object:
    if kind is not Path or not isinstance(value, str):
        raise NotImplementedError(f"no way to read a {kind.__name__}")
    if not value or "\0" in value:
        raise ValueError("a path is needed")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError("there is no such home directory") from error


def _refused(error: msgspec.ValidationError, given: Mapping[str, Given]) -> UsageError:
    """Says which setting is refused; msgspec ends its message with the key (`at `$.warn_at``)."""
    found = re.search(r"`\$\.(\w+)`$", str(error))
    key = found[1] if found else ""
    if key not in given:
        return UsageError(f"the settings cannot be read ({error})")
    setting = given[key]
    shown = clip(printable(setting.written), 60)
    return UsageError(f'{setting.source} cannot be "{shown}"', _accepted(key))


def _accepted(key: str) -> str:
    """What a setting accepts, from the description beside its bounds."""
    kind = next(field.type for field in msgspec.structs.fields(Config) if field.name == key)
    for note in getattr(kind, "__metadata__", ()):
        if isinstance(note, Meta) and note.description:
            return note.description
    return "give the path of a file, or - for standard error"
