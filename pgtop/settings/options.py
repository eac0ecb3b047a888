"""The options that set the fields of `Config`, each named after its field.

Every command accepts all of them and lists in its help those that matter to it. Settings before the command's
name (`alias pgtop='pgtop --interval 5'`) are therefore valid for every command.
"""

from collections.abc import Iterable, Set
from typing import Any, Final

import click

from pgtop.settings.defaults_and_bounds import Given, accepted_texts
from pgtop.settings.option_types import (
    CONNECTION,
    RECORDING,
    RULES,
    SETTINGS,
    Duration,
    FilePath,
    Fraction,
    Number,
    Option,
    Size,
    Word,
    Words,
)

DAEMON: Final = "Daemon (--watch)"
SCREEN: Final = "Dashboard"

LOOKING: Final = frozenset({"rescue", "warn_at", "idle_after_seconds", "hide_queries"})
"""The settings that matter to a command that shows sessions."""

RULE_KEYS: Final = frozenset(
    {
        "emergency_idle_after_seconds",
        "include_idle_in_transaction_seconds",
        "include_advisory_locks",
        "include_listeners",
        "max_per_sweep",
        "every_seconds",
        "applications",
        "users",
        "databases",
        "addresses",
        "findings",
        "protect_applications",
        "protect_users",
        "protect_databases",
        "protect_addresses",
        "default_protections",
        "read_only",
    }
)
"""The settings that matter to a command that terminates sessions."""

AUDIT_KEYS: Final = frozenset({"audit_log", "audit_max_size_bytes", "audit_keep"})
DAEMON_KEYS: Final = frozenset({"log_format", "log_queries", "metrics_listen"})
SCREEN_KEYS: Final = frozenset({"wall", "theme", "bell", "on_alert"})
POLLING: Final = LOOKING | RULE_KEYS | AUDIT_KEYS | {"interval_seconds", "login_probe_seconds"}
"""The settings that matter to everything that polls repeatedly."""
NO_HISTORY: Final = "no_history"
"""The option that corresponds to `history = false` in a file."""
RECORD_KEYS: Final = frozenset(
    {
        "history",
        NO_HISTORY,
        "record",
        "record_dir",
        "record_keep_seconds",
        "record_max_size_bytes",
        "record_queries",
    }
)
"""The settings that matter to whatever keeps or reads the past."""
SCREENING: Final = POLLING | SCREEN_KEYS | RECORD_KEYS
"""The settings that matter to the dashboard."""
FILE_ONLY: Final = (Option(["--color"], section=SCREEN, type=Word(), has_variable=False),)
"""The settings that only the file has: `--color` would mean the output's colours in most programs."""
REAPING: Final = POLLING | DAEMON_KEYS | RECORD_KEYS | {"wait_seconds"}
"""The settings that matter to `pgtop reap`."""


def setting_options(
    listed: Set[str], *, own_defaults: dict[str, str] | None = None, filters: str = RULES
) -> list[click.Parameter]:
    """Return the options for all settings. Those in `listed` appear in the help.

    `own_defaults` are the command's own defaults, as a person would write them. `filters` is the section of
    --application and its like.
    """
    own = own_defaults or {}
    return [
        *_entry(listed),
        *_pace(listed, own),
        *_screen(listed),
        *_filters(listed, filters),
        *_protected(listed),
        *_asked_for(listed),
        *_daemon(listed),
        _yes(
            listed,
            "--read-only",
            "read_only",
            "nothing can be terminated or cancelled",
            section=SETTINGS,
        ),
        _yes(
            listed,
            "--hide-queries",
            "hide_queries",
            "do not show or log other sessions' queries",
            section=SETTINGS,
        ),
        *_audit(listed),
        *_record(listed),
        *_history(listed),
        Option(
            ["--config"],
            section=SETTINGS,
            type=click.Path(),
            metavar="PATH",
            help="file of settings and named servers (config.toml in your config directory)",
        ),
    ]


def _option(
    listed: Set[str],
    flag: str,
    key: str,
    kind: Any,
    section: str,
    help: str,  # noqa: A002 - click's own word
    **rest: Any,
) -> click.Parameter:
    hidden = key not in listed
    return Option([flag, key], section=section, type=kind, help=help, hidden=hidden, **rest)


def _entry(listed: Set[str]) -> list[click.Parameter]:
    return [
        _option(
            listed,
            "--rescue",
            "rescue",
            Word(),
            CONNECTION,
            "CONNINFO of a privileged role, for when no slot is left",
            metavar="CONNINFO",
        ),
        _option(
            listed,
            "--wait",
            "wait_seconds",
            Duration(),
            CONNECTION,
            "keep trying for this long when no slot is left (0)",
            metavar="DURATION",
        ),
    ]


def _pace(listed: Set[str], own: dict[str, str]) -> list[click.Parameter]:
    def default(key: str, otherwise: str) -> str:
        return own.get(key, otherwise)

    interval = default("interval_seconds", "2s")
    stale = default("idle_after_seconds", "5min")
    return [
        _option(
            listed,
            "--interval",
            "interval_seconds",
            Duration(),
            SETTINGS,
            f"time between polls ({interval})",
            metavar="DURATION",
            default=own.get("interval_seconds"),
        ),
        _option(
            listed,
            "--login-probe",
            "login_probe_seconds",
            Duration(),
            SETTINGS,
            "connection test interval (1min); 0 for never",
            metavar="DURATION",
        ),
        _option(
            listed,
            "--warn-at",
            "warn_at",
            Fraction(),
            SETTINGS,
            "the 80% line: a fraction of the slots (0.8), or 80%",
            metavar="FRACTION",
        ),
        _option(
            listed,
            "--idle-after",
            "idle_after_seconds",
            Duration(),
            SETTINGS,
            f"sessions idle for longer than this are stale ({stale})",
            metavar="DURATION",
            default=own.get("idle_after_seconds"),
        ),
    ]


def _screen(listed: Set[str]) -> list[click.Parameter]:
    return [
        _yes(listed, "--wall", "wall", "open with the wall view (key w)", section=SCREEN),
        _option(
            listed,
            "--theme",
            "theme",
            Word(lambda: accepted_texts("theme")),
            SCREEN,
            "colours: dark (the default), light, ansi for the terminal's own, colour-blind",
            metavar="NAME",
        ),
        _yes(listed, "--no-bell", "bell", "do not ring at an alert", means=False, section=SCREEN),
        _option(
            listed,
            "--on-alert",
            "on_alert",
            Word(),
            SCREEN,
            "run this at an alert, without a shell, with JSON on its standard input",
            metavar="CMD",
        ),
    ]


def _filters(listed: Set[str], section: str) -> list[click.Parameter]:
    return [
        _several(
            listed, "--application", "applications", "GLOB", "only sessions of this application", section
        ),
        _several(listed, "--user", "users", "GLOB", "only sessions of this user", section),
        _several(listed, "--database", "databases", "GLOB", "only sessions in this database", section),
        _several(
            listed,
            "--address",
            "addresses",
            "NETWORK",
            "only sessions from this address; local for sockets",
            section,
        ),
        _kinds(listed, section),
    ]


def _sweepable_kinds() -> Iterable[str]:
    from pgtop.core.diagnosis.sweepable_kinds import SWEEPABLE

    return SWEEPABLE


def _kinds(listed: Set[str], section: str) -> click.Parameter:
    def together(_: click.Context, __: click.Parameter, each: tuple[Given, ...]) -> Given | None:
        if not each:
            return None
        kinds = [kind.strip() for one in each for kind in str(one.value).split(",")]
        # An empty one is refused as unknown: a variable that was empty by mistake must not widen a sweep.
        return Given(tuple(kinds), ", ".join(kinds), each[0].source)

    return Option(
        ["--finding", "--only", "findings"],
        section=section,
        type=Words(_sweepable_kinds),
        metavar="KIND",
        multiple=True,
        callback=together,
        help="only what a finding explains: leak, silent_clients, idle_in_transaction, tools",
        hidden="findings" not in listed,
    )


def _protected(listed: Set[str]) -> list[click.Parameter]:
    return [
        _several(listed, "--protect-application", "protect_applications", "GLOB", "never this application"),
        _several(listed, "--protect-user", "protect_users", "GLOB", "never this user"),
        _several(listed, "--protect-database", "protect_databases", "GLOB", "never this database"),
        _several(listed, "--protect-address", "protect_addresses", "NETWORK", "never this address"),
        _yes(
            listed,
            "--no-default-protections",
            "default_protections",
            "do not protect Patroni, pgBackRest, barman, wal-g and repmgr",
            means=False,
        ),
    ]


def _asked_for(listed: Set[str]) -> list[click.Parameter]:
    return [
        _option(
            listed,
            "--emergency-idle-after",
            "emergency_idle_after_seconds",
            Duration(),
            RULES,
            "idle age that counts when no slot is left (30s)",
            metavar="DURATION",
        ),
        _option(
            listed,
            "--include-idle-in-transaction",
            "include_idle_in_transaction_seconds",
            Duration(),
            RULES,
            "also sessions idle in transaction for longer than this",
            metavar="AGE",
        ),
        _yes(
            listed,
            "--include-advisory-locks",
            "include_advisory_locks",
            "also sessions that hold advisory locks",
        ),
        _yes(listed, "--include-listeners", "include_listeners", "also sessions seen running LISTEN"),
        _option(
            listed,
            "--max-per-sweep",
            "max_per_sweep",
            Number(),
            RULES,
            "at most this many per sweep, the longest idle first",
            metavar="NUMBER",
        ),
        _option(
            listed,
            "--every",
            "every_seconds",
            Duration(),
            RULES,
            "minimum time between automatic sweeps (60s)",
            metavar="DURATION",
        ),
    ]


def _daemon(listed: Set[str]) -> list[click.Parameter]:
    return [
        _option(
            listed,
            "--metrics-listen",
            "metrics_listen",
            Word(),
            DAEMON,
            "serve /metrics (Prometheus) and /healthz here",
            metavar="HOST:PORT",
        ),
        _option(
            listed,
            "--log-format",
            "log_format",
            Word(lambda: accepted_texts("log_format")),
            DAEMON,
            "text or json",
            metavar="FORMAT",
        ),
        _yes(
            listed, "--log-queries", "log_queries", "log the queries of terminated sessions", section=DAEMON
        ),
    ]


def _audit(listed: Set[str]) -> list[click.Parameter]:
    return [
        _option(
            listed,
            "--audit-log",
            "audit_log",
            FilePath(),
            SETTINGS,
            "where actions are logged; - for standard error",
            metavar="PATH",
        ),
        _option(
            listed,
            "--audit-max-size",
            "audit_max_size_bytes",
            Size(),
            SETTINGS,
            "size at which a new audit log file begins (16MiB)",
            metavar="SIZE",
        ),
        _option(
            listed,
            "--audit-keep",
            "audit_keep",
            Number(),
            SETTINGS,
            "full audit log files to keep (20)",
            metavar="NUMBER",
        ),
    ]


def _history(listed: Set[str]) -> list[click.Parameter]:
    return [
        _option(
            listed,
            "--history",
            "history",
            FilePath(),
            SETTINGS,
            "history file of pgtop up to 0.9, to be taken over",
            metavar="PATH",
        ),
        _yes(
            listed,
            "--no-history",
            NO_HISTORY,
            "keep nothing of the past, not even the graph's counts",
            means=False,
            section=SETTINGS,
        ),
    ]


def _record(listed: Set[str]) -> list[click.Parameter]:
    return [
        _yes(
            listed,
            "--no-record",
            "record",
            "do not record sessions; counts and events are still kept",
            means=False,
            section=RECORDING,
        ),
        _option(
            listed,
            "--record-keep",
            "record_keep_seconds",
            Duration(),
            RECORDING,
            "how long a recording is kept (48h)",
            metavar="DURATION",
        ),
        _option(
            listed,
            "--record-max-size",
            "record_max_size_bytes",
            Size(),
            RECORDING,
            "size of a server's recordings beyond which the oldest go (256MiB)",
            metavar="SIZE",
        ),
        _yes(
            listed,
            "--record-queries",
            "record_queries",
            "record queries as they are; without it, their literals are left out",
            section=RECORDING,
        ),
        _option(
            listed,
            "--record-dir",
            "record_dir",
            FilePath(),
            RECORDING,
            "directory of the recordings",
            metavar="PATH",
        ),
    ]


def _several(
    listed: Set[str],
    flag: str,
    key: str,
    metavar: str,
    help: str,  # noqa: A002 - click's own word
    section: str = RULES,
) -> click.Parameter:
    def together(_: click.Context, __: click.Parameter, each: tuple[Given, ...]) -> Given | None:
        if not each:
            return None
        words = tuple(str(one.value) for one in each)
        return Given(words, ", ".join(words), each[0].source)

    return _option(
        listed, flag, key, Words(), section, help, metavar=metavar, multiple=True, callback=together
    )


def _yes(
    listed: Set[str],
    flag: str,
    key: str,
    help: str,  # noqa: A002 - click's own word
    *,
    means: bool = True,
    section: str = RULES,
) -> click.Parameter:
    def said(context: click.Context, option: click.Parameter, yes: bool) -> Given | None:
        source = option.source(context) if isinstance(option, Option) else flag
        given = context.get_parameter_source(key) is not click.core.ParameterSource.DEFAULT
        return Given(means is yes, "yes" if yes else "no", source) if given else None

    return Option(
        [flag, key], section=section, is_flag=True, help=help, hidden=key not in listed, callback=said
    )
