"""The advice that is missing rights: sessions that pgtop's role may not end, and the grant that helps."""

from collections.abc import Iterable

from pgtop.core.activity import Backend, Snapshot
from pgtop.core.diagnosis.findings import Advice
from pgtop.core.signal_rights import signal_grants
from pgtop.core.text import plural, printable


def missing_rights(snapshot: Snapshot, backends: Iterable[Backend]) -> tuple[Advice, ...]:
    """Return what it takes to end these sessions, or their queries; () if the role may end all of them."""
    lacking = [each for each in backends if not snapshot.privileges.may_end(each)]
    if not lacking:
        return ()
    superusers = sum(each.is_superuser for each in lacking)
    said = (
        f"Role {printable(snapshot.privileges.role)} may not end {plural(len(lacking), 'session')} of these"
    )
    if superusers:
        said += f"; {superusers} of superusers can only be ended by a superuser"
    return (Advice(said, sql=" ".join(signal_grants(snapshot, lacking))),)
