"""The messages between the widgets and the dashboard that more than one of them sends or reads."""

from textual.message import Message

from pgtop.core.activity import Snapshot
from pgtop.core.outage import Outage
from pgtop.core.plan import Plan
from pgtop.reaping.reaper import Report


class Polled(Message):
    """A poll's result. A newer one replaces one that is still waiting to be shown."""

    def __init__(self, result: Snapshot | Outage, *, refused: bool = False) -> None:
        """`refused` is True if a login was refused just now, although the result shows free slots."""
        super().__init__()
        self.result = result
        self.refused = refused

    def can_replace(self, message: Message) -> bool:
        """Return True for an older result, unless it tells of a refused login."""
        return isinstance(message, Polled) and not message.refused


class FactsKnown(Message):
    """Facts for a diagnosis were asked for after a poll, and are known now."""


class Begun(Message):
    """A plan was confirmed and is being carried out."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan


class Reaped(Message):
    """A plan was carried out."""

    def __init__(self, report: Report, *, by_itself: bool = False, seen: str = "") -> None:
        """`by_itself` is True for an automatic sweep; `seen` tells what a canary showed, printable."""
        super().__init__()
        self.report = report
        self.by_itself = by_itself
        self.seen = seen


class Trouble(Message):
    """A sentence for the notice, mostly on something that could not be done."""

    def __init__(self, said: str, style: str = "alarm") -> None:
        super().__init__()
        self.said = said
        self.style = style


class AutoChanged(Message):
    """The state of automatic sweeps, or the daemons that sweep, may have changed."""


class TitleChanged(Message):
    """The terminal's title is another one."""

    def __init__(self, title: str) -> None:
        """`title` is printable."""
        super().__init__()
        self.title = title
