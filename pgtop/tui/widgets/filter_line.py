"""FilterLine: the line for a filter, with the saved filters and the earlier ones at hand."""

from collections.abc import Mapping
from typing import ClassVar, Final

from textual.binding import Binding, BindingType
from textual.widgets import Input

_MOST_TYPED: Final = 50
"""The number of earlier filters that are kept."""


class FilterLine(Input):
    """An input that `↓` and `↑` fill with the saved filters and with those that were typed before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "walk(1)", "Next saved or earlier filter", show=False),
        Binding("up", "walk(-1)", "Previous saved or earlier filter", show=False),
    ]

    def __init__(
        self,
        saved: Mapping[str, str],
        *,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        """`saved` has the saved filters by their names."""
        super().__init__(
            placeholder="words, app:web, state:idle, idle>5m, txn>30s, -not", id=id, compact=True
        )
        self._saved = saved
        self._typed: list[str] = []
        self._draft = ""
        self._at = 0

    @property
    def last(self) -> str:
        """The last filter that was applied or cleared; "" if there was none."""
        return self._typed[-1] if self._typed else ""

    @property
    def has_others(self) -> bool:
        """True if there are saved filters, or earlier ones."""
        return bool(self._saved or self._typed)

    @property
    def saved_name(self) -> str:
        """The name of the saved filter that stands in the line; "" for another text."""
        return next((name for name, text in self._saved.items() if text == self.value), "")

    def remember(self) -> None:
        """Keep the text as the last one, which `n` looks for and `↑` brings back."""
        text = self.value.strip()
        if text:
            self._typed = [*(each for each in self._typed if each != text), text][-_MOST_TYPED:]
        self._at = 0

    def action_walk(self, by: int) -> None:
        """Show the next of: the text being typed, the saved filters, the earlier ones; then the first again.

        `↑` begins with the latest of the earlier ones.
        """
        ring = list(dict.fromkeys(["", *self._saved.values(), *self._typed]))
        if not 0 < self._at < len(ring) or self.value != ring[self._at]:
            self._at, self._draft = 0, self.value
        self._at = (self._at + by) % len(ring)
        self.value = ring[self._at] if self._at else self._draft
        self.cursor_position = len(self.value)
