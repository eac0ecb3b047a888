"""The countable rules of the language: how docstrings open, and words that a newcomer reads twice."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.support.sources import parsed

REPOSITORY: Final = Path(__file__).parent.parent

SOURCES: Final = sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "pgtop").rglob("*.py"))
TESTS: Final = sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "tests").rglob("*.py"))
PAGES: Final = sorted(
    str(path.relative_to(REPOSITORY))
    for path in (*REPOSITORY.glob("*.md"), *(REPOSITORY / "pgtop/docs").glob("*.md"))
    if path.name != "CHANGELOG.md"
)

PLAIN_FILES: Final = sorted(
    str(path.relative_to(REPOSITORY))
    for path in (
        *(REPOSITORY / "pgtop").rglob("*.tcss"),
        *REPOSITORY.glob("*.toml"),
        *REPOSITORY.glob(".ci/*"),
    )
)
"""Files that are neither code nor pages, in which somebody writes comments."""

OPENING: Final = re.compile(r"(What|Who|Whom|Whose|Where|Whether|How|Why)\b")
"""A docstring names the thing, or begins with a verb in the imperative."""

CLAUSE: Final = re.compile(r"(When|If|As|Once|While|Unless|Since|Because)\b")
"""The docstring of a function says what it does before it says when."""

THIRD_PERSON: Final = re.compile(
    r"(Returns|Raises|Yields|Gives|Takes|Tells|Says|Shows|Asks|Makes|Runs|Waits|Reads|Writes|Opens|Closes|Keeps|"
    r"Lets|Puts|Sets|Ends|Begins|Looks|Finds|Sends|Draws|Adds|Calls|Starts|Stops|Checks|Counts|Holds|Saves|"
    r"Watches|Notices|Continues|Reaps|Terminates|Sweeps|Polls|Turns|Leaves|Removes|Drops|Decides|Knows)\b"
)
"""The docstring of a function is an order, "Return" and not "Returns"; that of a class names the thing."""

IS_NO: Final = (
    r"(?<![Tt]here )\b(is|are|was|were|be|been) no (?!longer\b|more\b|less\b|fewer\b|later\b)(?=[A-Za-z`])"
)

NAMED_IS_NO: Final = re.compile(r"(?<!there)_(is|are|was|were)_no_(?!longer|more|less|fewer|later)")
"""The same in a name, of a test as of a function."""

RIDDLES: Final = {
    IS_NO: '"is not a", never "is no"',
    r'(?<!")\bspared\b(?!")': '"skipped"; in quotes it is a key of the JSON',
    r"\bpassed over\b": '"skipped"',
    r"\bbreak the glass\b": '"break-glass" is the command; say what it does',
    r"\bfor want of\b": '"for lack of", or what is missing',
    r"\bautomatic reaping\b": '"automatic sweeps"',
    r"\bend(s|ing)? (the |its |their |all |idle |stale |selected )*sessions\b": '"terminate sessions"',
    r"\bends? nobody\b|\bnobody (is |was )?(to (be )?end|ended)": '"no session to terminate"',
}
"""Wordings that are read twice, each with what to write."""


def docstrings(tree: ast.Module) -> Iterator[tuple[ast.AST | None, str]]:
    """Yield every docstring with the function, class or module it belongs to; None for an attribute's."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for index, statement in enumerate(body):
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield (node if index == 0 else None), value.value


def said(source: str) -> Iterator[str]:
    """Yield every text of a module: its strings, docstrings among them, and its comments."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def as_one_line(text: str) -> str:
    r"""Return a text whose sentences go on from line to line as one line, without the marks of comments.

    >>> as_one_line("# a comment\n    # of two lines")
    'a comment of two lines'
    """
    return " ".join(re.sub(r"^\s*#+", "", line).strip() for line in text.splitlines()).strip()


def riddles(text: str) -> list[tuple[str, str]]:
    """Return the wordings of a text that are read twice, each with what to write."""
    plain = " ".join(text.split())
    return [(found[0], better) for riddle, better in RIDDLES.items() for found in re.finditer(riddle, plain)]


def test_docstrings_open_plainly() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for path in SOURCES:
        for node, text in docstrings(parsed(Path(REPOSITORY, path).read_text())):
            assert not OPENING.match(text), (path, text)
            assert not (isinstance(node, functions) and CLAUSE.match(text)), (path, text)
            assert not (isinstance(node, (*functions, ast.ClassDef)) and THIRD_PERSON.match(text)), (
                path,
                text,
            )


def test_no_text_of_the_program_is_a_riddle() -> None:
    for path in SOURCES:
        texts = said(Path(REPOSITORY, path).read_text())
        assert not [(text, found) for text in texts for found in riddles(text)], path


@pytest.mark.parametrize("path", [*SOURCES, *TESTS])
def test_not_is_said_with_not(path: str) -> None:
    """Neither in a text of the program or of its tests, nor in a name."""
    source = Path(REPOSITORY, path).read_text(encoding="utf-8")
    texts = (" ".join(text.split()) for text in said(source))
    assert not [text for text in texts if re.search(IS_NO, text)]
    nodes = ast.walk(parsed(source))
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not list(filter(NAMED_IS_NO.search, names))


@pytest.mark.parametrize("path", [*SOURCES, *TESTS, *PAGES, *PLAIN_FILES, "CHANGELOG.md"])
def test_not_is_said_with_not_from_line_to_line(path: str) -> None:
    """A comment is read as a whole, wherever its lines end, and so is what is neither code nor a page."""
    whole = as_one_line(Path(REPOSITORY, path).read_text(encoding="utf-8"))
    whole = whole.replace('never "is no"', "")  # the rule itself
    assert not re.findall(f".{{0,40}}{IS_NO}.{{0,20}}", whole)


@pytest.mark.parametrize("path", PAGES)
def test_no_page_of_the_manual_is_a_riddle(path: str) -> None:
    assert not riddles(Path(REPOSITORY, path).read_text())


@cache
def definitions() -> dict[str, set[str]]:
    """The names that each module defines, by its path with dots and without `pgtop.`."""
    found = {}
    for path in SOURCES:
        nodes = list(ast.walk(parsed((REPOSITORY / path).read_text(encoding="utf-8"))))
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        names = {node.name for node in nodes if isinstance(node, kinds)}
        names |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        found[path.removeprefix("pgtop/").removesuffix(".py").replace("/", ".")] = names
    return found


@cache
def classes() -> frozenset[str]:
    """The names of classes among them."""
    names = {name for defined in definitions().values() for name in defined}
    return frozenset(name for name in names if name[0].isupper() and not name.isupper())


REFERENCE: Final = re.compile(r"`(?:pgtop[./])?((?:[A-Za-z_]\w*[./])*[A-Za-z_]\w*)(?:\([^`]*\))?`")


def is_stale(reference: str) -> bool:
    """Return whether a module or a class's module that a text names is not there (any more)."""
    if reference.endswith(".py"):
        wanted = reference.removesuffix(".py").replace("/", ".")
        return not any(f".{module}".endswith(f".{wanted}") for module in definitions())
    parts = re.split("[./]", reference)
    for length in range(1, len(parts)):
        module = ".".join(parts[:length])
        named = [names for path, names in definitions().items() if f".{path}".endswith(f".{module}")]
        if any(parts[length] in names for names in named):
            return False
    is_of_pgtop = any(part in classes() for part in parts[1:]) or f"{parts[0]}.__init__" in definitions()
    is_of_pgtop = is_of_pgtop and parts[-1] not in ("jsonl", "sqlite3")  # the names of files
    return len(parts) > 1 and is_of_pgtop and ".".join(parts) not in definitions()


def test_a_reference_in_backticks_leads_somewhere() -> None:
    for path in SOURCES:
        texts = said((REPOSITORY / path).read_text(encoding="utf-8"))
        assert not [each[1] for text in texts for each in REFERENCE.finditer(text) if is_stale(each[1])], path


def test_a_reference_to_a_module_that_has_moved_is_noticed() -> None:
    stale = ("cli.py", "core.title.kind_of", "host_hand.HostTerminator", "settings.config.Config")
    assert all(map(is_stale, stale))
    assert not any(
        map(is_stale, ("reaping/reaper.py", "titles.kind_of", "Backend.idle_at_least", "core.plan"))
    )
