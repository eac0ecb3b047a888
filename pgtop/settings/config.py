"""The settings in force: what may be set, within which bounds, and the one place where they are checked.

Precedence, lowest first: the defaults here, the file, its server's section, the environment, the flags.
Whoever reads a source hands its values over as `Given`s, so that a bad one is named as the person wrote it.
"""

import os
import pwd
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from pgtop.core.labels import LOCAL
from pgtop.core.masking import masked_value
from pgtop.core.patterns import Patterns, parse_network
from pgtop.core.plan import DEFAULT_PROTECTED_APPLICATIONS, ReapPolicy
from pgtop.core.redacted import Redacted
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
    """Where it came by: `--warn-at`, `PGTOP_WARN_AT`, `config.toml: servers.prod.warn_at`."""

    def __repr__(self) -> str:
        return f"Given({self.source!r})"  # a conninfo may hold a password

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("source", self.source)]


def default_audit_log() -> Path:
    """`audit.jsonl` in the user's state directory."""
    return _state_directory() / "audit.jsonl"


def default_history() -> Path:
    """`history.sqlite3` in the user's state directory."""
    return _state_directory() / "history.sqlite3"


def _state_directory() -> Path:
    # Imported here: `pgtop --version` and a run that names its files need no platformdirs.
    from platformdirs import user_state_path

    return of_own_home(user_state_path("pgtop", appauthor=False))


def of_own_home(path: Path) -> Path:
    """Return the same path below root's home, where pgtop runs as root with another user's HOME.

    Some set-ups of sudo keep HOME; root must not write where that user could put something else.
    """
    with suppress(OSError, RuntimeError, KeyError):
        home = Path.home()
        if os.geteuid() == 0 and path.is_relative_to(home) and home.stat().st_uid != 0:
            return Path(pwd.getpwuid(0).pw_dir) / path.relative_to(home)
    return path


_Age = Annotated[float, Meta(ge=1, le=30 * 86_400, description="give 1s to 30d")]
_GLOB: Final = "give names; * and ? stand for any letters"
_Globs = Annotated[tuple[str, ...], Meta(description=_GLOB)]
_Networks = Annotated[
    tuple[str, ...],
    Meta(description="give addresses, networks such as 10.0.0.0/8, or local for Unix sockets"),
]
_COMMAND: Final = "give a program and its arguments, such as \"notify --pager 'on call'\"; there is no shell"
_YesOrNo = Annotated[bool, Meta(description="give true or false")]


class Config(Redacted, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in force for one run. Each bound's description is the mend that people read."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"rescue"})

    rescue: str | None = None
    """The conninfo of a privileged role, for when the ordinary one finds no slot. May hold a password."""
    wait_seconds: Annotated[float, Meta(ge=0, le=86_400, description="give 0 to 1d")] = 0.0
    """How long a command that asks once goes on trying to get into a full server."""
    interval_seconds: Annotated[float, Meta(ge=0.1, le=3600, description="give 100ms to 1h")] = 2.0
    """From one poll's beginning to the next one's."""
    warn_at: Annotated[
        float, Meta(gt=0, le=1, description="give more than 0 and at most 1, or a percentage such as 80%")
    ] = 0.8
    """The line: a fraction of the slots."""
    idle_after_seconds: _Age = 300.0
    """An idle session is stale after this."""
    emergency_idle_after_seconds: _Age = 30.0
    """How long a session has to be idle to be ended where no slot is left."""
    include_idle_in_transaction_seconds: _Age | None = None
    """Sessions idle in transaction for longer than this are ended too; None spares them all."""
    include_advisory_locks: _YesOrNo = False
    """Holders of session-level advisory locks are ended too."""
    include_listeners: _YesOrNo = False
    """Sessions seen with LISTEN are ended too."""
    max_per_sweep: Annotated[int, Meta(ge=1, description="give 1 or more")] | None = None
    """The most that one sweep ends; None for no limit."""
    applications: _Globs = ()
    """Whom a sweep means, by application; everybody where no filter of any kind is given."""
    users: _Globs = ()
    databases: _Globs = ()
    addresses: _Networks = ()
    protect_applications: _Globs = ()
    """Who is never ended, beside the default protections."""
    protect_users: _Globs = ()
    protect_databases: _Globs = ()
    protect_addresses: _Networks = ()
    default_protections: _YesOrNo = True
    """Whether DEFAULT_PROTECTED_APPLICATIONS are protected."""
    read_only: _YesOrNo = False
    """Nothing can be ended or cancelled."""
    hide_queries: _YesOrNo = False
    """No statement is asked for, and so none is shown, copied or logged."""
    theme: Annotated[
        Literal["dark", "light", "ansi", "colour-blind"],
        Meta(description="give dark, light, ansi or colour-blind"),
    ] = "dark"
    """The dashboard's colours."""
    wall: _YesOrNo = False
    """Whether the dashboard opens with the wall view."""
    bell: _YesOrNo = True
    """Whether the dashboard rings the terminal's bell at an alert."""
    on_alert: Annotated[str, Meta(description=_COMMAND)] | None = None
    """The command that the dashboard runs at an alert, as a shell would have it; None for none."""
    every_seconds: Annotated[float, Meta(ge=1, le=86_400, description="give 1s to 1d")] = 60.0
    """The least time between two automatic sweeps, the daemon's or the dashboard's."""
    login_probe_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="give 1s to 1d, or 0 for none")
    ] = 60.0
    """How often daemon and dashboard try a login of their own; 0 for never."""
    log_format: Annotated[Literal["text", "json"], Meta(description="give text or json")] = "text"
    """How the daemon's log is written."""
    log_queries: _YesOrNo = False
    """Whether the daemon's log repeats victims' statements."""
    metrics_listen: Annotated[str, Meta(description="give HOST:PORT, such as 127.0.0.1:9432")] | None = None
    """Where the daemon answers Prometheus; None for nowhere."""
    audit_log: Path | None = msgspec.field(default_factory=default_audit_log)
    """Where acts are remembered; None for standard error."""
    audit_max_size_bytes: Annotated[
        int, Meta(ge=65_536, le=2**30, description="give 64KiB to 1GiB, such as 16MiB")
    ] = 16 * 2**20
    """The audit log begins a new file where it would grow beyond this."""
    audit_keep: Annotated[int, Meta(ge=1, le=1000, description="give 1 to 1000")] = 20
    """How many full files of the audit log are kept."""
    history: Annotated[
        Path | None, Meta(description="give the path of a file, or false for none (--no-history)")
    ] = msgspec.field(default_factory=default_history)
    """Where the dashboard keeps the series behind its graph; None for nowhere."""

    @property
    def policy(self) -> ReapPolicy:
        """The rules of a sweep."""
        defaults = DEFAULT_PROTECTED_APPLICATIONS if self.default_protections else ()
        return ReapPolicy(
            warn_at=self.warn_at,
            idle_after_seconds=self.idle_after_seconds,
            # Who calls a session stale sooner than that means it in an emergency too.
            emergency_idle_after_seconds=min(self.emergency_idle_after_seconds, self.idle_after_seconds),
            only=Patterns(self.applications, self.users, self.databases, self.addresses),
            protected=Patterns(
                (*self.protect_applications, *defaults),
                self.protect_users,
                self.protect_databases,
                self.protect_addresses,
            ),
            include_idle_in_transaction_seconds=self.include_idle_in_transaction_seconds,
            include_advisory_locks=self.include_advisory_locks,
            include_listeners=self.include_listeners,
            max_per_sweep=self.max_per_sweep,
        )


def in_force(given: Mapping[str, Given]) -> Config:
    """The defaults with what was given in their place, checked.

    Raises UsageError, naming the flag or variable and what it accepts, for a value out of bounds.
    """
    values = {key: setting.value for key, setting in given.items()}
    if values.get("audit_log") == STANDARD_ERROR:
        values["audit_log"] = None
    if values.get("history") is False:
        values["history"] = None
    try:
        config = msgspec.convert(values, Config, dec_hook=_decode)
    except msgspec.ValidationError as error:
        found = re.search(r"`\$\.(\w+)", str(error))
        raise refused(found[1] if found else "", given, str(error)) from error
    for key, check in _CHECKS.items():
        if not check(getattr(config, key)):
            raise refused(key, given)
    return config


def _are_networks(networks: tuple[str, ...]) -> bool:
    try:
        return all(network == LOCAL or parse_network(network) for network in networks)
    except ValueError:
        return False


_LISTEN: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]]+):([0-9]{1,5})")


def _is_listen_address(address: str | None) -> bool:
    """Whether a listener can be asked for so.

    >>> [_is_listen_address(a) for a in ("127.0.0.1:9432", "[::1]:9432", "9432", "::1:9432", "h:0")]
    [True, True, False, False, False]
    """
    found = _LISTEN.fullmatch(address or "")
    return address is None or (found is not None and 1 <= int(found[2]) <= 65_535)


def _is_command(written: str | None) -> bool:
    r"""Whether it can be split into a program and its arguments.

    >>> [_is_command(written) for written in ("page 'on call'", "page 'on call", " ", "a\0b")]
    [True, False, False, False]
    """
    try:
        return written is None or ("\0" not in written and any(shlex.split(written)[:1]))
    except ValueError:
        return False


_CHECKS: Final[dict[str, Callable[..., bool]]] = {
    "addresses": _are_networks,
    "protect_addresses": _are_networks,
    "on_alert": _is_command,
    "metrics_listen": _is_listen_address,
    "login_probe_seconds": lambda seconds: seconds == 0 or seconds >= 1,
}
"""What bounds alone do not say."""


def _decode(kind: type, value: object) -> object:
    if kind is not Path or not isinstance(value, str):
        raise NotImplementedError(f"no way to read a {kind.__name__}")
    if not value or "\0" in value:
        raise ValueError("a path is needed")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError("there is no such home directory") from error


def refused(key: str, given: Mapping[str, Given], said: str = "") -> UsageError:
    """The error for one setting: which it is, as it was written, and what it accepts."""
    if key not in given:
        return UsageError(f"the settings cannot be read ({said})")
    setting = given[key]
    shown = clip(printable(masked_value(setting.written)), 60)
    return UsageError(f'{setting.source} cannot be "{shown}"', _accepted(key))


def _accepted(key: str) -> str:
    """What a setting accepts, from the description beside its bounds."""
    kind = next(field.type for field in msgspec.structs.fields(Config) if field.name == key)
    for each in (kind, *getattr(kind, "__args__", ())):
        for note in getattr(each, "__metadata__", ()):
            if isinstance(note, Meta) and note.description:
                return note.description
    return "give the path of a file, or - for standard error"
