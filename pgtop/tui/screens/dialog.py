"""Dialog: the box over the dashboard that all dialogs have in common."""

from typing import Final, TypeVar

from textual.screen import ModalScreen

Answer = TypeVar("Answer")

BOX: Final = """
#dialog {
    width: 94%;
    max-width: 140;
    height: auto;
    max-height: 100%;
    border: round $border;
    background: $background;
    padding: 0 1;
    border-title-color: $text-accent;
    border-title-style: bold;
    border-subtitle-color: $text-accent;
}
#dialog-text { height: 4; }
#dialog-buttons { height: 1; margin-top: 1; }
#dialog-buttons.-below-keys { margin-top: 0; }
#dialog-buttons Button { width: auto; min-width: 9; margin-right: 1; }
#dialog-keys { height: 1; }
/* As narrow as the scroll mark of the tables, on no ground of its own. */
VerticalScroll {
    scrollbar-size-vertical: 1;
    scrollbar-color: $text-muted;
    scrollbar-background: $background;
    scrollbar-background-hover: $background;
    scrollbar-background-active: $background;
}
#detail-scroll { height: auto; max-height: 80vh; }
#detail-keys { height: 1; margin-top: 1; }
"""
"""The styles of a dialog. They are not among the app's: the first frame needs none of them."""


class Dialog(ModalScreen[Answer]):
    """A box in the middle of the screen."""

    DEFAULT_CSS = BOX
