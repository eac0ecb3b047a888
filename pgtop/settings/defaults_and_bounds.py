"""The settings in force: their names, their bounds, and the one place where they are checked.

The sources are, lowest precedence first: the defaults here, the file, its section for the server, the
environment, the flags. Each source hands over its values as `Given`, so that an error names a bad value as
the person wrote it.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from pgtop.core.diagnosis.findings import Kind
from pgtop.core.diagnosis.sweepable_kinds import NOT_SWEEPABLE, SWEEPABLE
from pgtop.core.masking import masked_value
from pgtop.core.name_patterns import unmatchable
from pgtop.core.plan import DEFAULT_PROTECTED_APPLICATIONS, ReapPolicy
from pgtop.core.redacted_repr import Redacted
from pgtop.core.server_colour import ServerColour
from pgtop.core.session_labels import LOCAL
from pgtop.core.session_patterns import Patterns, parse_network
from pgtop.core.text import clip, printable
from pgtop.errors import UsageError
from pgtop.settings.own_home import own_path

STANDARD_ERROR: Final = "-"
"""The value of `audit_log` that sends the audit log to standard error."""


class Given(msgspec.Struct, frozen=True):
    """The value of one setting, with its source."""

    value: object
    """The value, in the setting's own unit."""
    written: str
    """The value as the person wrote it."""
    source: str
    """The source: `--warn-at`, `PGTOP_WARN_AT`, `config.toml: servers.prod.warn_at`."""

    def __repr__(self) -> str:
        return f"Given({self.source!r})"  # a conninfo may hold a password

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("source", self.source)]


def default_audit_log() -> Path:
    """Return the path of `audit.jsonl` in the user's state directory."""
    return _state_directory() / "audit.jsonl"


def default_history() -> Path:
    """Return the path of `history.sqlite3` in the user's state directory."""
    return _state_directory() / "history.sqlite3"


def default_record_dir() -> Path:
    """Return the path of `recordings` in the user's state directory."""
    return _state_directory() / "recordings"


def _state_directory() -> Path:
    # Imported here: `pgtop --version` and a run that names its files need no platformdirs.
    from platformdirs import user_state_path

    return own_path(lambda: user_state_path("pgtop", appauthor=False), ".local/state/pgtop")


_Age = Annotated[float, Meta(ge=1, le=30 * 86_400, description="give 1s to 30d")]
_GLOB: Final = "give names; * and ? stand for any letters"
_Globs = Annotated[tuple[str, ...], Meta(description=_GLOB)]
_Networks = Annotated[
    tuple[str, ...],
    Meta(description="give addresses, networks such as 10.0.0.0/8, or local for Unix sockets"),
]
_KINDS: Final = f"give {', '.join(SWEEPABLE[:-1])} or {SWEEPABLE[-1]}"
_Kinds = Annotated[tuple[Kind, ...], Meta(description=_KINDS)]
_COMMAND: Final = "give a program and its arguments, such as \"notify --pager 'on call'\"; there is no shell"
_COLOURS: Final = f"give one of {', '.join(ServerColour)}"
_YesOrNo = Annotated[bool, Meta(description="give true or false")]


class Config(Redacted, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings in force for one run. The description of a bound is the remedy in its error message."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"rescue"})

    rescue: str | None = None
    """The conninfo of a privileged role, used if the ordinary one finds no slot. It may hold a password."""
    wait_seconds: Annotated[float, Meta(ge=0, le=86_400, description="give 0 to 1d")] = 0.0
    """The seconds for which a command that polls once keeps trying to log in to a full server."""
    interval_seconds: Annotated[float, Meta(ge=0.1, le=3600, description="give 100ms to 1h")] = 2.0
    """The seconds from the start of one poll to the start of the next."""
    warn_at: Annotated[
        float, Meta(gt=0, le=1, description="give more than 0 and at most 1, or a percentage such as 80%")
    ] = 0.8
    """The line: a fraction of the slots."""
    idle_after_seconds: _Age = 300.0
    """The idle age in seconds above which a session is stale."""
    emergency_idle_after_seconds: _Age = 30.0
    """The idle age in seconds above which a session may be terminated if no slot is left."""
    include_idle_in_transaction_seconds: _Age | None = None
    """The age in seconds above which sessions idle in transaction are terminated too; None skips them all."""
    include_advisory_locks: _YesOrNo = False
    """True to terminate also sessions that hold session-level advisory locks."""
    include_listeners: _YesOrNo = False
    """True to terminate also sessions that were seen with LISTEN."""
    max_per_sweep: Annotated[int, Meta(ge=1, description="give 1 or more")] | None = None
    """The most sessions that one sweep terminates; None for no limit."""
    applications: _Globs = ()
    """The applications whose sessions a sweep considers. Without any filter it considers all sessions."""
    users: _Globs = ()
    databases: _Globs = ()
    addresses: _Networks = ()
    findings: _Kinds = ()
    """The kinds of findings that `pgtop reap` and automatic sweeps are bound to; empty for no such bound."""
    protect_applications: _Globs = ()
    """The applications that are never terminated, in addition to the default protections."""
    protect_users: _Globs = ()
    protect_databases: _Globs = ()
    protect_addresses: _Networks = ()
    default_protections: _YesOrNo = True
    """True to protect DEFAULT_PROTECTED_APPLICATIONS."""
    read_only: _YesOrNo = False
    """True to refuse every termination and cancellation."""
    hide_queries: _YesOrNo = False
    """True to fetch no statements, so that none is shown, copied or logged."""
    theme: Annotated[
        Literal["dark", "light", "ansi", "colour-blind"],
        Meta(description="give dark, light, ansi or colour-blind"),
    ] = "dark"
    """The dashboard's colours."""
    color: Annotated[ServerColour, Meta(description=_COLOURS)] | None = None
    """The colour of the server's name on the screen; None for none. Only the file sets it."""
    wall: _YesOrNo = False
    """True if the dashboard opens with the wall view."""
    bell: _YesOrNo = True
    """True if the dashboard rings the terminal's bell at an alert."""
    on_alert: Annotated[str, Meta(description=_COMMAND)] | None = None
    """The command that the dashboard runs at an alert, quoted as for a shell; None for none."""
    every_seconds: Annotated[float, Meta(ge=1, le=86_400, description="give 1s to 1d")] = 60.0
    """The least seconds between two automatic sweeps, the daemon's or the dashboard's."""
    login_probe_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="give 1s to 1d, or 0 for none")
    ] = 60.0
    """The seconds between two test logins of the daemon or the dashboard; 0 for none."""
    log_format: Annotated[Literal["text", "json"], Meta(description="give text or json")] = "text"
    """The format of the daemon's log."""
    log_queries: _YesOrNo = False
    """True if the daemon's log repeats the statements of victims."""
    metrics_listen: Annotated[str, Meta(description="give HOST:PORT, such as 127.0.0.1:9432")] | None = None
    """The address at which the daemon answers Prometheus; None for none."""
    audit_log: Path | None = msgspec.field(default_factory=default_audit_log)
    """The file that records every action; None for standard error."""
    audit_max_size_bytes: Annotated[
        int, Meta(ge=65_536, le=2**30, description="give 64KiB to 1GiB, such as 16MiB")
    ] = 16 * 2**20
    """The size in bytes beyond which the audit log begins a new file."""
    audit_keep: Annotated[int, Meta(ge=1, le=1000, description="give 1 to 1000")] = 20
    """The number of full files of the audit log that are kept."""
    history: Annotated[
        Path | None, Meta(description="give the path of a file, or false for none (--no-history)")
    ] = msgspec.field(default_factory=default_history)
    """The history file of earlier versions, which the recordings take over; None to keep nothing at all."""
    record: _YesOrNo = True
    """True to record what the dashboard and the daemon see; without it, only the graph's counts are kept."""
    record_dir: Path = msgspec.field(default_factory=default_record_dir)
    """The directory of the recordings."""
    record_keep_seconds: Annotated[float, Meta(ge=600, le=366 * 86_400, description="give 10min to 366d")] = (
        48 * 3600.0
    )
    """The age in seconds from which on a recording is dropped."""
    record_max_size_bytes: Annotated[
        int, Meta(ge=2**20, le=2**40, description="give 1MiB to 1TiB, such as 256MiB")
    ] = 256 * 2**20
    """The size in bytes of one server's recordings beyond which the oldest part is dropped."""
    record_queries: _YesOrNo = False
    """True to record statements with their literals."""

    @property
    def policy(self) -> ReapPolicy:
        """The rules of a sweep."""
        defaults = DEFAULT_PROTECTED_APPLICATIONS if self.default_protections else ()
        return ReapPolicy(
            warn_at=self.warn_at,
            idle_after_seconds=self.idle_after_seconds,
            # A shorter idle_after also applies in an emergency.
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
    """Return the settings in force: the given values, checked, and the defaults for the rest.

    It raises UsageError for a value out of bounds, which names the flag, variable or key and what it accepts.
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
    _check_patterns(config, given)
    for kind in config.findings:
        if reason := NOT_SWEEPABLE.get(kind):
            raise UsageError(f'{given["findings"].source} cannot be "{kind}" ({reason})', _KINDS)
    return config


def accepted_texts(key: str) -> tuple[str, ...]:
    """Return the texts that a setting accepts, if they are listed.

    >>> accepted_texts("log_format"), accepted_texts("on_alert")
    (('text', 'json'), ())
    """
    kind = next(iter(get_args(Config.__annotations__[key])), None)
    return tuple(get_args(kind)) if get_origin(kind) is Literal else ()


def _check_patterns(config: Config, given: Mapping[str, Given]) -> None:
    """Raise UsageError for a pattern that cannot match a name."""
    for key in _PATTERNS:
        for pattern in getattr(config, key):
            if reason := unmatchable(pattern):
                shown = clip(printable(pattern), 60)
                raise UsageError(
                    f'{given[key].source} cannot match a name: "{shown}" ({reason})',
                    "give names as pg_stat_activity shows them; * and ? stand for any letters",
                )


def _are_networks(networks: tuple[str, ...]) -> bool:
    try:
        return all(network == LOCAL or parse_network(network) for network in networks)
    except ValueError:
        return False


_LISTEN: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]]+):([0-9]{1,5})")


def _is_listen_address(address: str | None) -> bool:
    """Return whether the text is an address to listen on, HOST:PORT, or None.

    >>> [_is_listen_address(a) for a in ("127.0.0.1:9432", "[::1]:9432", "9432", "::1:9432", "h:0")]
    [True, True, False, False, False]
    """
    found = _LISTEN.fullmatch(address or "")
    return address is None or (found is not None and 1 <= int(found[2]) <= 65_535)


def _is_command(written: str | None) -> bool:
    r"""Return whether the text can be split into a program and its arguments, or is None.

    >>> [_is_command(written) for written in ("page 'on call'", "page 'on call", " ", "a\0b")]
    [True, False, False, False]
    """
    try:
        return written is None or ("\0" not in written and any(shlex.split(written)[:1]))
    except ValueError:
        return False


_PATTERNS: Final = (
    *("applications", "users", "databases"),
    *("protect_applications", "protect_users", "protect_databases"),
)
"""The fields of Config that hold globs for names."""

_CHECKS: Final[dict[str, Callable[..., bool]]] = {
    "addresses": _are_networks,
    "protect_addresses": _are_networks,
    "on_alert": _is_command,
    "metrics_listen": _is_listen_address,
    "login_probe_seconds": lambda seconds: seconds == 0 or seconds >= 1,
}
"""The checks beyond the bounds, by field of Config."""


def _decode(_: type, value: object) -> Path:
    """Return a path: the one type of Config that the library does not read itself. Raises ValueError."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a path is needed")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError("there is no such home directory") from error


def refused(key: str, given: Mapping[str, Given], said: str = "") -> UsageError:
    """Return the error for one setting. It names the source, the value as written, and what is accepted."""
    if key not in given:
        return UsageError(f"the settings cannot be read ({said})")
    setting = given[key]
    shown = clip(printable(masked_value(setting.written)), 60)
    return UsageError(f'{setting.source} cannot be "{shown}"', _accepted(key))


def _accepted(key: str) -> str:
    """Return what a setting accepts: the description beside its bounds."""
    kind = next(field.type for field in msgspec.structs.fields(Config) if field.name == key)
    for each in (kind, *getattr(kind, "__args__", ())):
        for note in getattr(each, "__metadata__", ()):
            if isinstance(note, Meta) and note.description:
                return note.description
    return "give the path of a file, or - for standard error"
