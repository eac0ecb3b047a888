"""The causes that a sweep may be bound to, why it may not be to the others, and the sessions it then has."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from pgtop.core.activity import BackendId
from pgtop.core.diagnosis.findings import Finding, Kind
from pgtop.core.plan import ReapPolicy, Scope

SWEEPABLE: Final = (Kind.LEAK, Kind.SILENT_CLIENTS, Kind.IDLE_IN_TRANSACTION, Kind.TOOLS)
"""The kinds whose sessions are in nobody's use: room that a sweep makes there lasts."""

NOT_SWEEPABLE: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.LIMIT: "a sweep does not tell who may hold a limited role's sessions: see who holds them first",
        Kind.LOGIN_STALL: "a sweep does not help a login stall: it cannot end clients still connecting",
        Kind.LOCK_QUEUE: "a sweep does not help a lock queue: cancel its head",
        Kind.SLOW_STATEMENTS: "a sweep does not help slow statements: those sessions are active; cancel them",
        Kind.SURGE: "a sweep does not help in a surge: its sessions are in use, and come back at once",
        Kind.POOL_ARITHMETIC: "a sweep does not make pools smaller: they refill at once; set their size",
        Kind.MIXED: "a sweep without a single cause is one over all sessions: leave the kind out",
    }
)
"""The reason for each kind that no sweep is bound to."""

_WONT_HOLD: Final = frozenset({Kind.SURGE, Kind.POOL_ARITHMETIC})

_WORDS: Final[Mapping[Kind, tuple[str, str]]] = MappingProxyType(
    {
        Kind.LIMIT: ("limit that is reached", "a limit that is reached"),
        Kind.LOGIN_STALL: ("login stall", "a login stall"),
        Kind.LOCK_QUEUE: ("lock queue", "a lock queue"),
        Kind.IDLE_IN_TRANSACTION: ("sessions idle in transaction", "sessions idle in transaction"),
        Kind.SLOW_STATEMENTS: ("slow statements", "slow statements"),
        Kind.TOOLS: ("tools left open", "people's tools"),
        Kind.SILENT_CLIENTS: ("silent clients", "silent clients"),
        Kind.LEAK: ("leak", "a leak"),
        Kind.SURGE: ("surge", "a surge"),
        Kind.POOL_ARITHMETIC: ("pools that are too large", "pools that are too large together"),
        Kind.MIXED: ("single cause", "no single cause"),
    }
)
"""Each kind as a sentence denies it and as it names it."""


def scope_of(findings: Iterable[Finding], kinds: Iterable[Kind]) -> Scope:
    """Return the sessions of the findings of some kinds, for a sweep; none if there is no such finding.

    A finding without a remedy is not acted on: it is shown for what its sessions were a moment ago.
    """
    meant = frozenset(kinds)
    found = [each for each in findings if each.kind in meant and each.remedy is not None]
    sessions = frozenset(identity for each in found for identity in each.backends)
    return Scope(sessions, ", ".join(dict.fromkeys(_WORDS[each.kind][1] for each in found)))


def policy_for(policy: ReapPolicy, kinds: Iterable[Kind]) -> ReapPolicy:
    """Return the rules for a sweep of some kinds: whoever asks for sessions in transaction means them.

    >>> policy_for(ReapPolicy(), [Kind.LEAK]).include_idle_in_transaction_seconds
    >>> policy_for(ReapPolicy(), [Kind.IDLE_IN_TRANSACTION]).include_idle_in_transaction_seconds
    300.0
    """
    if Kind.IDLE_IN_TRANSACTION not in kinds or policy.include_idle_in_transaction_seconds is not None:
        return policy
    return msgspec.structs.replace(policy, include_idle_in_transaction_seconds=policy.idle_after_seconds)


def none_found(kinds: Iterable[Kind]) -> str:
    """Say that nothing of some kinds was found.

    >>> none_found([Kind.LEAK])
    'no leak was found'
    >>> none_found([Kind.LEAK, Kind.TOOLS, Kind.SILENT_CLIENTS])
    'no leak, tools left open or silent clients were found'
    """
    *others, last = (_WORDS[kind][0] for kind in kinds)
    listed = f"{', '.join(others)} or {last}" if others else last
    return f"no {listed} {'were' if others or last.endswith('s') else 'was'} found"


def hands_off(findings: Iterable[Finding], kinds: Iterable[Kind]) -> str:
    """Say why nothing is swept although the usage asks for it: no finding is of a kind that is asked for.

    >>> hands_off([], [Kind.LEAK, Kind.TOOLS])
    'nothing is known to fill it: --only leak,tools'
    """
    first = next(iter(findings), None)
    if first is None:
        cause = "nothing is known to fill it"
    elif first.kind is Kind.MIXED:
        cause = "no single cause fills it"
    else:
        cause = f"what fills it is {_WORDS[first.kind][1]}"
    return f"{cause}: --only {','.join(kinds)}"


def that_wont_hold(findings: Iterable[Finding]) -> Finding | None:
    """Return the first finding if what a sweep frees is taken again at once; None for other causes."""
    first = next(iter(findings), None)
    return first if first is not None and first.kind in _WONT_HOLD else None


def refilling(findings: Iterable[Finding]) -> frozenset[BackendId]:
    """Return the sessions that come back at once when they are terminated, as far as findings tell."""
    return frozenset(identity for each in findings if each.kind in _WONT_HOLD for identity in each.backends)


def against_sweeping(findings: Iterable[Finding]) -> str:
    """Return why a sweep does not hold, by the first finding; "" if nothing speaks against it."""
    found = that_wont_hold(findings)
    return found.remedy.caution if found is not None and found.remedy is not None else ""
