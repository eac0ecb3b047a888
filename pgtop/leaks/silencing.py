"""Findings that are left as they are on purpose: by a comment, or by a table in `pyproject.toml`."""

import io
import os
import re
import tokenize
import tomllib
from collections.abc import Container, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec

from pgtop.errors import UsageError
from pgtop.leaks.findings import Finding, Rule

_COMMENT: Final = re.compile(r"#\s*pgtop:\s*kept\b(?:\[(?P<rules>[^\]]*)\])?[\s:,.–—-]*(?P<reason>.*)")
NO_REASON: Final = "no reason given"
"""The reason of a comment that gives none."""


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the table: what it names is left as it is."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """A glob for the file's path, relative to the `pyproject.toml`."""
    reason: Annotated[str, msgspec.Meta(min_length=1)]
    rule: Rule | None = None
    """The rule; None for all."""
    function: str | None = None
    """A glob for the function's qualified name; None for all."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[tool.pgtop.leaks]`."""

    exclude: tuple[str, ...] = ()
    """Globs of paths that are not checked, relative to the `pyproject.toml`."""
    kept: tuple[Kept, ...] = ()


class Settings(msgspec.Struct, frozen=True):
    """The table, and where it was found."""

    table: Table = Table()
    root: Path | None = None
    """The directory of the `pyproject.toml`; None if there is none."""

    def relative(self, path: str) -> str:
        """Return a path as the table's globs see it."""
        absolute = Path(path).absolute()
        if self.root is None or not absolute.is_relative_to(self.root):
            return Path(path).as_posix()
        return absolute.relative_to(self.root).as_posix()

    def excludes(self, path: str) -> bool:
        """Return whether a file is not to be checked."""
        relative = self.relative(path)
        return any(fnmatchcase(relative, glob) for glob in self.table.exclude)

    def keeps(self, finding: Finding) -> Kept | None:
        """Return the entry that silences a finding; None if none does."""
        relative = self.relative(finding.place.path)
        return next(
            (
                each
                for each in self.table.kept
                if fnmatchcase(relative, each.path)
                and each.rule in {None, finding.rule}
                and (each.function is None or fnmatchcase(finding.function, each.function))
            ),
            None,
        )

    def judged(self, files: Sequence[str], paths: Iterable[Path], rules: Container[Rule]) -> list[Kept]:
        """Return the entries that a check of these files can judge: they silence something, or never will.

        An entry for other files may be needed all the same: a hook sees only the files of one commit.
        """
        is_whole = self.root is not None and any(self.root.is_relative_to(each.absolute()) for each in paths)
        checked = [] if is_whole else [self.relative(each) for each in files]
        return [
            each
            for each in self.table.kept
            if (each.rule is None or each.rule in rules)
            and (is_whole or any(fnmatchcase(name, each.path) for name in checked))
        ]


def settings_near(path: Path) -> Settings:
    """Return the settings of the nearest `pyproject.toml`, in the directory of `path` or above it.

    Raises UsageError if it cannot be read, or if its table is wrong.
    """
    start = path.absolute()
    for folder in [start, *start.parents]:
        file = folder / "pyproject.toml"
        if os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises in a directory that cannot be read
            return Settings(_table_of(file), folder)
    return Settings()


def _table_of(file: Path) -> Table:
    try:
        text = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read ({error})", "mend it, or give another PATH") from error
    tool = text.get("tool")
    own = tool.get("pgtop") if isinstance(tool, dict) else None
    table = own.get("leaks", {}) if isinstance(own, dict) else {}
    try:
        return msgspec.convert(table, Table)
    except msgspec.ValidationError as error:
        raise UsageError(f"{file}, [tool.pgtop.leaks]: {error}", "see pgtop docs leaks") from error


class Comment(NamedTuple):
    """A comment that silences."""

    rules: frozenset[str]
    """The rules that it names; empty for all."""
    reason: str
    is_alone: bool
    """True if nothing else stands on its line: it then speaks for the line below."""


def comments_in(source: str) -> dict[int, Comment]:
    """Return the comments that silence, by their line."""
    if "pgtop:" not in source:
        return {}
    found = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            match = _COMMENT.search(token.string) if token.type == tokenize.COMMENT else None
            if match:
                rules = frozenset((match["rules"] or "").replace(",", " ").split())
                is_alone = not token.line[: token.start[1]].strip()
                found[token.start[0]] = Comment(rules, match["reason"].strip() or NO_REASON, is_alone)
    except (tokenize.TokenError, SyntaxError):
        return found  # the parser read it: what was found until here counts
    return found


def silenced_by_comment(finding: Finding, comments: dict[int, Comment], last_line: int) -> str | None:
    """Return the reason of a comment on the lines of the call, or on the line above; None if there is none.

    `last_line` is the last line of the call.
    """
    for line in range(finding.place.line - 1, last_line + 1):
        each = comments.get(line)
        if each is None or (line < finding.place.line and not each.is_alone):
            continue
        if not each.rules or finding.rule in each.rules:
            return each.reason
    return None
