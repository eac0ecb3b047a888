"""DiagnosisScreen: what fills the server, each finding with its evidence, what to do, and the act itself."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.timer import Timer

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.findings import Finding, Kind, Remedy
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.diagnosis.steady import cause_of
from pgtop.core.diagnosis.sweepable_kinds import against_sweeping
from pgtop.core.plan import Act
from pgtop.core.text import cell_width, plural
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.findings import diagnosis_lines, diagnosis_title, statements
from pgtop.tui.lines.growth_chart import chart_lines
from pgtop.tui.lines.keys import READ_ONLY_SAID, RECORDING_SAID
from pgtop.tui.screens.dialog import Dialog
from pgtop.tui.screens.help import HelpScreen
from pgtop.tui.screens.over_dashboard import AboutFindings
from pgtop.tui.widgets.painted_lines import Lines

CHARTS_FROM_LINES: Final = 30
"""The least height of a terminal for a chart beside the words."""
_AROUND_LINES: Final = 4
"""The lines of the dialog besides its text: the border, the keys and the line above them."""
_SAID_SECONDS: Final = 4.0


class Chosen(NamedTuple):
    """A remedy that a person asks for, and the snapshot that it was made from."""

    kind: Kind
    remedy: Remedy
    snapshot: Snapshot


class DiagnosisScreen(Dialog[Chosen | None], AboutFindings):
    """The findings of the snapshot on the screen; the dashboard gives it each newer one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f10,enter", "close", "Close"),
        Binding("K,f9", "act", "Terminate or cancel the finding's sessions"),
        # Not to close: `d K` typed once more would mean whatever is selected in the list.
        Binding("d", "choose_first", "First finding", show=False),
        Binding("f1,question_mark", "help", "Help", show=False),
        Binding("tab,n", "choose(1)", "Next finding"),
        Binding("shift+tab,N", "choose(-1)", "Previous finding"),
        Binding("c", "copy", "Copy the finding's SQL; again: its next"),
    ]

    def __init__(
        self,
        findings: Sequence[Finding],
        snapshot: Snapshot,
        warn_at: float,
        forecast: Forecast | None = None,
        *,
        read_only: bool,
        replay: bool = False,
        totals_of: Callable[[str], Sequence[int]] = lambda _: (),
    ) -> None:
        """`warn_at` is a fraction of the slots; `read_only` leaves out the key that acts, and so does
        `replay`, for the findings of a recording.

        `totals_of` returns an application's numbers of sessions over the last minutes, the oldest first.
        """
        super().__init__()
        self._totals_of = totals_of
        self._forecast = forecast
        self._findings = tuple(findings)
        self._snapshot = snapshot
        self._warn_at = warn_at
        self._read_only = read_only or replay
        self._replay = replay
        self._chosen = 0
        self._said = ""
        self._quieting: Timer | None = None
        self._copied = 0
        self._starts: list[int] = []
        self._text = Lines(id="detail-text")
        self._scroll = VerticalScroll(self._text, id="detail-scroll")
        self._keys = Lines(id="detail-keys")
        self._box = Vertical(self._scroll, self._keys, id="dialog", classes="detail")

    def compose(self) -> ComposeResult:
        yield self._box

    def on_mount(self) -> None:
        self._scroll.focus()
        self.call_after_refresh(self._show)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def update(self, findings: Sequence[Finding], snapshot: Snapshot, forecast: Forecast | None) -> None:
        """Show the findings of a newer snapshot; the chosen one stays chosen as long as it is there."""
        cause = cause_of(self._findings[self._chosen]) if self._findings else None
        self._findings, self._snapshot, self._forecast = tuple(findings), snapshot, forecast
        self._chosen = next((n for n, each in enumerate(self._findings) if cause_of(each) == cause), 0)
        if self.is_attached:
            self._show()

    def _show(self) -> None:
        width = max(20, self._scroll.size.width - 2)
        lines, self._starts = diagnosis_lines(
            self._findings,
            self._snapshot,
            self._warn_at,
            self._chosen,
            width,
            self._forecast,
            chart=self._chart(width),
        )
        self._box.border_title = diagnosis_title(self._snapshot)
        self._scroll.styles.max_height = max(1, self.app.size.height - _AROUND_LINES)
        self._text.fit(lines)
        self._keys.show([self._key_line(self._scroll.size.width)])

    def _chart(self, width: int) -> list[list[Cell]]:
        """Return the growth of the chosen finding's application, on a terminal with room for it."""
        finding = self._finding
        if finding is None or finding.application_name is None or self.app.size.height < CHARTS_FROM_LINES:
            return []
        return chart_lines(finding.application_name, self._totals_of(finding.application_name), width)

    @property
    def _finding(self) -> Finding | None:
        return self._findings[self._chosen] if self._findings else None

    def _key_line(self, width: int) -> list[Cell]:
        """Return the keys; those that do not fit into `width` cells are dropped from the end."""
        if self._said:
            return [Cell(f" {self._said}", "amber")]
        keys = [("Esc", "close", "screen.close")]
        finding = self._finding
        if (
            finding is not None
            and finding.remedy is not None
            and not _refused(finding)
            and not self._read_only
        ):
            keys.append(("K", _act_words(finding.remedy), "screen.act"))
        if finding is not None and statements(finding):
            keys.append(("c", "copy SQL", "screen.copy"))
        if len(self._findings) > 1:
            keys.append(("Tab", "next", "screen.choose(1)"))
        keys.append(("↑ ↓", "scroll", ""))
        while len(keys) > 1 and sum(cell_width(f" {key} {said} ") for key, said, _ in keys) > width:
            keys.pop()
        cells = []
        for key, said, action in keys:
            cells += [Cell(f" {key}", "key", action), Cell(f" {said} ", "dim", action)]
        return cells

    def action_close(self) -> None:
        """Close the diagnosis and do nothing."""
        self.dismiss(None)

    def action_choose(self, by: int) -> None:
        """Choose the next finding, or the one before, and scroll to it."""
        if not self._findings:
            return
        self._choose((self._chosen + by) % len(self._findings))

    def action_choose_first(self) -> None:
        """Choose the first finding, which the dashboard names."""
        if self._findings:
            self._choose(0)

    def action_help(self) -> None:
        """Show the keys."""
        self.app.push_screen(HelpScreen(read_only=self._read_only, replay=self._replay))

    def _choose(self, number: int) -> None:
        self._said = ""
        self._copied = 0
        self._chosen = number
        self._show()
        self._scroll.scroll_to(y=max(0, self._starts[self._chosen] - 1), animate=False)

    def action_act(self) -> None:
        """Close the diagnosis and ask whether to do what the chosen finding calls for."""
        finding = self._finding
        if self._read_only:
            self._tell(RECORDING_SAID if self._replay else READ_ONLY_SAID)
            return
        if finding is None:
            return
        if refused := _refused(finding):
            self._tell(refused)
            return
        if finding.remedy is None:
            self._tell("No session is to be terminated here: see what to do")
            return
        self.dismiss(Chosen(finding.kind, finding.remedy, self._snapshot))

    def action_copy(self) -> None:
        """Copy the statement of the chosen finding's first advice; pressed again, of the next.

        They are never copied together: some are alternatives.
        """
        texts = statements(self._finding) if self._finding is not None else []
        if texts:
            text = texts[self._copied % len(texts)]
            self._copied += 1
            self.app.copy_to_clipboard(text)
            more = f" (c: next of {len(texts)})" if len(texts) > 1 else ""
            self._tell(f"copied{more}: {' '.join(text.split())}")

    def _tell(self, said: str) -> None:
        self._said = said
        self._show()
        if self._quieting is not None:
            self._quieting.stop()  # it belongs to an older answer
        self._quieting = self.set_timer(_SAID_SECONDS, self._be_quiet)

    def _be_quiet(self) -> None:
        self._said = ""
        self._show()


def _refused(finding: Finding) -> str:
    """Return why nothing of a finding is terminated from here; "" if something may be.

    The sessions of a surge do work: to terminate them fails requests, and makes room for a moment.
    """
    return against_sweeping((finding,)) if finding.kind is Kind.SURGE else ""


def _act_words(remedy: Remedy) -> str:
    """Return the act in words.

    >>> _act_words(Remedy(Act.TERMINATE, ()))
    'terminate 0 sessions'
    """
    number = len(remedy.backends)
    if remedy.act is Act.TERMINATE:
        return f"terminate {plural(number, 'session')}"
    if number == 1:
        return f"cancel the query of {remedy.backends[0].pid}"
    return f"cancel {plural(number, 'query', 'queries')}"
