"""A finding in a few words, for a list of what happened: `leak in leaky-worker`."""

from types import MappingProxyType
from typing import Final

from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.session_labels import NO_APPLICATION, label

_KINDS: Final = MappingProxyType(
    {
        Kind.LIMIT: "limit",
        Kind.LOGIN_STALL: "login stall",
        Kind.LOCK_QUEUE: "lock queue",
        Kind.IDLE_IN_TRANSACTION: "idle in transaction",
        Kind.SLOW_STATEMENTS: "slow statements",
        Kind.TOOLS: "people's tools",
        Kind.SILENT_CLIENTS: "silent clients",
        Kind.LEAK: "leak",
        Kind.SURGE: "surge",
        Kind.POOL_ARITHMETIC: "pools too large together",
        Kind.MIXED: "no single cause",
    }
)
_OF_APPLICATIONS: Final = MappingProxyType(
    {
        Kind.LEAK: "leak in {}",
        Kind.IDLE_IN_TRANSACTION: "{} idle in transaction",
        Kind.POOL_ARITHMETIC: "pools of {} too large together",
    }
)
"""The words with an application's name, where that does not come last."""

GRADE_WORDS: Final = MappingProxyType(
    {Grade.IS: "is", Grade.LOOKS_LIKE: "looks like", Grade.MIXED: "no cause"}
)
"""The grades as words beside a sentence."""


def cause_words(finding: Finding) -> str:
    """Return the kind and the application of a finding, printable.

    >>> cause_words(Finding(Kind.LEAK, Grade.LOOKS_LIKE, 44, "…", application_name="leaky-worker"))
    'leak in leaky-worker'
    >>> cause_words(Finding(Kind.LOCK_QUEUE, Grade.IS, 7, "…"))
    'lock queue'
    >>> cause_words(Finding(Kind.LIMIT, Grade.IS, 7, "…", usename="billing"))
    'limit of user billing'
    """
    kind = _KINDS[finding.kind]
    if finding.kind is Kind.LIMIT:
        owner = ("user", finding.usename) if finding.usename is not None else ("database", finding.datname)
        return f"{kind} of {owner[0]} {label(owner[1], '')}" if owner[1] else kind
    if finding.application_name is None:
        return kind
    name = label(finding.application_name, NO_APPLICATION)
    return _OF_APPLICATIONS.get(finding.kind, f"{kind} of {{}}").format(name)
