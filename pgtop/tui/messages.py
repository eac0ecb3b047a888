"""What travels between the widgets and the dashboard, where more than one of them sends or reads it."""

from textual.message import Message

from pgtop.core.activity import Snapshot
from pgtop.core.outage import Outage
from pgtop.core.plan import Plan
from pgtop.reaping.reaper import Report


class Polled(Message):
    """A poll's result. A newer one takes the place of one that is still waiting to be shown."""

    def __init__(self, result: Snapshot | Outage, *, refused: bool = False) -> None:
        """`refused` where a login was refused just now, although the result shows slots that are free."""
        super().__init__()
        self.result = result
        self.refused = refused

    def can_replace(self, message: Message) -> bool:
        """True for an older one that nobody has to act on."""
        return isinstance(message, Polled) and not message.refused


class Begun(Message):
    """A plan was said yes to and is being carried out."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan


class Reaped(Message):
    """A plan was carried out."""

    def __init__(self, report: Report, *, by_itself: bool = False) -> None:
        """`by_itself` where no person asked for it."""
        super().__init__()
        self.report = report
        self.by_itself = by_itself


class Trouble(Message):
    """Something that was asked for could not be done."""

    def __init__(self, said: str, style: str = "alarm") -> None:
        super().__init__()
        self.said = said
        self.style = style


class AutoChanged(Message):
    """Automatic reaping stands otherwise than before."""
