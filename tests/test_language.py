"""The countable rules of the language: how docstrings open, and words that a newcomer reads twice."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.sources import parsed

REPOSITORY: Final = Path(__file__).parent.parent

SOURCES: Final = sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "pgtop").rglob("*.py"))
PAGES: Final = sorted(
    str(path.relative_to(REPOSITORY))
    for path in (*REPOSITORY.glob("*.md"), *(REPOSITORY / "pgtop/docs").glob("*.md"))
    if path.name != "CHANGELOG.md"
)

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

RIDDLES: Final = {
    r"(?<![Tt]here )\b(is|are|was|were) no (?!longer\b|more\b|less\b|fewer\b|use\b)(?=[a-z])": (
        '"is not a", never "is no"'
    ),
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


def riddles(text: str) -> list[tuple[str, str]]:
    """Return the wordings of a text that are read twice, each with what to write."""
    plain = " ".join(text.split())
    return [(found[0], better) for riddle, better in RIDDLES.items() for found in re.finditer(riddle, plain)]


@pytest.mark.parametrize("path", SOURCES)
def test_docstrings_open_plainly(path: str) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node, text in docstrings(parsed(Path(REPOSITORY, path).read_text())):
        assert not OPENING.match(text), text
        assert not (isinstance(node, functions) and CLAUSE.match(text)), text
        assert not (isinstance(node, (*functions, ast.ClassDef)) and THIRD_PERSON.match(text)), text


@pytest.mark.parametrize("path", SOURCES)
def test_no_text_of_the_program_is_a_riddle(path: str) -> None:
    texts = said(Path(REPOSITORY, path).read_text())
    assert not [(text, found) for text in texts for found in riddles(text)]


@pytest.mark.parametrize("path", PAGES)
def test_no_page_of_the_manual_is_a_riddle(path: str) -> None:
    assert not riddles(Path(REPOSITORY, path).read_text())
