"""A finding: one cause, the sessions it explains, the numbers that led to it, and what helps."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from pgtop.core.activity import BackendId
from pgtop.core.plan import Act

ACT_KEYS: Final = "d K"
"""The dashboard's keys for the act on a finding's sessions: the diagnosis, and in it `K`."""


class Kind(StrEnum):
    """The causes that are told apart, in the order they are looked for."""

    LIMIT = "limit"
    """A role or a database has reached its own CONNECTION LIMIT."""
    LOGIN_STALL = "login_stall"
    """Clients still connecting hold the slots."""
    LOCK_QUEUE = "lock_queue"
    """Sessions wait for a lock, directly or behind others."""
    IDLE_IN_TRANSACTION = "idle_in_transaction"
    """Sessions wait for their client in the middle of a transaction."""
    SLOW_STATEMENTS = "slow_statements"
    """Many sessions run the same statement for long."""
    TOOLS = "tools"
    """People's own tools, left open."""
    SILENT_CLIENTS = "silent_clients"
    """Addresses that went silent: crashed, cut off, or an old release."""
    LEAK = "leak"
    """Sessions that an application took and does not give back."""
    SURGE = "surge"
    """Many new sessions at work: a scale-out, no pool, a reconnect storm."""
    POOL_ARITHMETIC = "pool_arithmetic"
    """Pools that are too large together, each of them in order."""
    MIXED = "mixed"
    """No single cause."""


class Grade(StrEnum):
    """The certainty of a finding."""

    IS = "is"
    """It follows from the structure: blocking pids, a limit that is reached."""
    LOOKS_LIKE = "looks_like"
    """All tests of its kind passed."""
    MIXED = "mixed"
    """A description that blames nobody."""


class Advice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing to do."""

    text: str
    """A sentence; printable."""
    key: str = ""
    """The dashboard's keys for it; "" for none."""
    command: str = ""
    """The shell command for it; "" for none."""
    sql: str = ""
    """The statement for it, to paste into a superuser's session; "" for none."""


class Remedy(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sessions of a finding to terminate, or whose statements to cancel. A plan is made of it."""

    act: Act
    backends: tuple[BackendId, ...]
    caution: str = ""
    """A sentence for the dialog, printable: what to know before it is done; "" for none."""


class Finding(msgspec.Struct, frozen=True):
    """One cause and all that is known of it. Texts are printable, names are as the server gave them."""

    kind: Kind
    grade: Grade
    slots: int
    """The slots that would be free without it."""
    sentence: str
    backends: tuple[BackendId, ...] = ()
    """The sessions that it explains; each session belongs to at most one finding."""
    application_name: str | None = None
    """The application to blame; None if there is not one."""
    usename: str | None = None
    datname: str | None = None
    addresses: tuple[tuple[str, int], ...] = ()
    """The addresses of its sessions with the number of each, the largest first."""
    since: int | None = None
    """The time since which it lasts at least, microseconds by the server's clock."""
    per_minute: float | None = None
    """The sessions by which it grows each minute."""
    full_at: int | None = None
    """The time at which the server is full if it goes on growing so."""
    forecast_words: str = ""
    """The part of the sentence that tells that time; "" for none."""
    evidence: tuple[tuple[str, str], ...] = ()
    """The numbers that led to it: what was measured, and the value in words."""
    statements: tuple[str, ...] = ()
    """The statements that the sentence shows, as it shows them: not all readers may see them."""
    advice: tuple[Advice, ...] = ()
    remedy: Remedy | None = None
    """The act on its sessions; None if there is nothing to terminate or cancel."""
    shorter: tuple[str, ...] = ()
    """Sentences for less room, each shorter than the one before: each names the cause and the culprit."""

    @property
    def mark(self) -> str:
        """The character before its sentence: one that blames somebody differs from a description."""
        return "·" if self.grade is Grade.MIXED else "▲"

    def without_forecast(self) -> "Finding":
        """Return the finding without the time at which the server is full."""
        if not self.forecast_words:
            return msgspec.structs.replace(self, full_at=None)
        said, *shorter = (each.replace(self.forecast_words, "", 1) for each in self.sentences)
        return msgspec.structs.replace(
            self, sentence=said, shorter=tuple(shorter), full_at=None, forecast_words=""
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """The sentence and the shorter ones, the fullest first."""
        return self.sentence, *self.shorter

    @property
    def is_act_advised(self) -> bool:
        """True if the advice is to terminate or cancel what the remedy names."""
        return self.remedy is not None and any(each.key == ACT_KEYS for each in self.advice)

    @property
    def sentence_without_statements(self) -> str:
        """The sentence for a place where no statements are shown, with `…` in place of each."""
        said = self.sentence
        for statement in self.statements:
            said = said.replace(statement, "…")
        return said


def heaviest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings by the slots they hold; a description that blames nobody comes last."""
    return tuple(sorted(findings, key=lambda each: (each.grade is Grade.MIXED, -each.slots)))
