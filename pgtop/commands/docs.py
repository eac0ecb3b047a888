"""The command `pgtop docs`: the pages of the manual, in a viewer on a terminal, as plain text in a pipe."""

import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click

from pgtop.commands.command import Command
from pgtop.commands.shared_options import other_options, settings_without_effect
from pgtop.commands.standard_streams import run_until_sigterm, show
from pgtop.core.masking import masked_value
from pgtop.core.text import clip, printable
from pgtop.errors import PgtopError, UsageError
from pgtop.exit_codes import ExitCode

PAGES: Final = Path(__file__).parents[1] / "docs"
"""The directory of the manual's pages, shipped with the package."""
FIRST_PAGE: Final = "index"
"""The page that is shown if none is named."""


def page_names() -> list[str]:
    """Return the names of all pages, the index first."""
    names = sorted(path.stem for path in PAGES.glob("*.md"))
    return sorted(names, key=lambda name: name != FIRST_PAGE)


def _docs(context: click.Context, /, **_: Any) -> int:
    page = _page_of(context)
    if _has_terminal():
        from pgtop.tui.terminal.textual_variables import drop_unusable

        drop_unusable(os.environ)
        from pgtop.tui.manual_viewer import run_manual

        return run_until_sigterm(run_manual(PAGES, page))
    show(_text_of(page))
    return ExitCode.DONE


def _page_of(context: click.Context) -> str:
    """Return the name of the page that was asked for. It raises UsageError, which lists all pages."""
    asked_for: tuple[str, ...] = context.params["pages"]
    if len(asked_for) > 1:
        raise UsageError("pgtop docs shows one page at a time", "name one, such as pgtop docs reap")
    name = asked_for[0].lower().removesuffix(".md") if asked_for else FIRST_PAGE
    names = page_names()
    if name in names:
        return name
    close = get_close_matches(name, names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    shown = clip(printable(masked_value(asked_for[0] if asked_for else name)), 40)
    raise UsageError(f'there is no page "{shown}"{hint}', f"the pages are {', '.join(names)}")


def _text_of(page: str) -> str:
    path = PAGES / f"{page}.md"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PgtopError(f"{path} cannot be read ({error.strerror})", "install pgtop again") from error


def _has_terminal() -> bool:
    """Return whether a viewer can be drawn. It reads standard input and draws on standard error."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return os.environ.get("TERM") != "dumb" and all(
        stream is not None and stream.isatty() for stream in streams
    )


def _pages(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in page_names() if name.startswith(incomplete)]


DOCS: Final = Command(
    "docs",
    callback=click.pass_context(_docs),
    params=[
        click.Argument(["pages"], nargs=-1, metavar="[PAGE]", shell_complete=_pages),
        *settings_without_effect(),
        *other_options(show),
    ],
    help="""Show the manual, or one page of it: in a viewer on a terminal, as plain
    Markdown text in a pipe. Needs no server and reads no configuration.""",
    examples=(
        ("pgtop docs", "the index"),
        ("pgtop docs reap", "the page of pgtop reap"),
        ("pgtop docs troubleshooting | grep -A8 slot", "search it from a script"),
    ),
    notes=("Exit status: 0 done, 1 unexpected, 2 usage, or no such page, 130 Ctrl-C.",),
)
