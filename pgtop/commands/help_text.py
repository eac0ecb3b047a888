"""The layout of a command's help: sections, and styles where the terminal shows them."""

from collections.abc import Iterable
from typing import Final

import click

HELP_ALL: Final = "--help-all"
IN_FULL: Final = "pgtop.help_in_full"
"""The entry of a context's `meta` that is true if the help lists every option."""
HEADING: Final = "magenta"
"""The colour of headings: of the sixteen, it is the one that is legible on black and on white."""


class HelpText(click.HelpFormatter):
    """Click's help, with headings in bold and colour, and with options and commands in bold."""

    def __init__(self, *, width: int | None, max_width: int | None, is_styled: bool) -> None:
        """Without `is_styled`, the text is plain."""
        super().__init__(width=width, max_width=max_width)
        self._is_styled = is_styled

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the usage line."""
        title = "Usage:"
        super().write_usage(prog, args, f"{self._heading(title)} " if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        """Write the heading of a section."""
        self.write(f"{'':>{self.current_indent}}{self._heading(f'{heading}:')}\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write terms, each with its description."""
        shown = [(self._term(term), description) for term, description in rows]
        super().write_dl(shown, col_max, col_spacing)

    def _heading(self, text: str) -> str:
        return click.style(text, fg=HEADING, bold=True) if self._is_styled else text

    def _term(self, text: str) -> str:
        return click.style(text, bold=True) if self._is_styled else text
