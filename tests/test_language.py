"""The countable rules of the language: how docstrings open, and words that a newcomer reads twice."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).parent.parent

SOURCES: Final = sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "pgtop").rglob("*.py"))
PAGES: Final = sorted(
    str(path.relative_to(REPOSITORY))
    for path in (*REPOSITORY.glob("*.md"), *(REPOSITORY / "pgtop/docs").glob("*.md"))
    if path.name != "CHANGELOG.md"
)

OPENING: Final = re.compile(r"(What|Who|Whom|Whose|Where|Whether|How|Why)\b")
"""A docstring names the thing, or begins with a verb in the imperative."""

THIRD_PERSON: Final = re.compile(
    r"(Returns|Raises|Gives|Takes|Tells|Says|Shows|Asks|Makes|Runs|Waits|Reads|Writes|Opens|Closes|Keeps|Lets|"
    r"Puts|Sets|Ends|Begins|Looks|Finds|Sends|Draws|Adds|Calls|Starts|Stops|Checks)\b"
)
"""The docstring of a function is an order: "Return", and not "Returns"."""

RIDDLES: Final = {
    r"(?<![Tt]here )\b(is|are|was|were) no (?!longer\b|more\b|less\b|fewer\b|use\b)(?=[a-z])": '"is not a", never "is no"',
    r"\bspared\b": '"skipped"',
    r"\bpassed over\b": '"skipped"',
    r"\bbreak the glass\b": '"break-glass" is the command; say what it does',
}
"""Wordings that are read twice, each with what to write."""


def docstrings(tree: ast.Module) -> Iterator[tuple[ast.AST | None, str]]:
    """Yield every docstring with the function, class or module it belongs to; None for an attribute's."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for index, statement in enumerate(body):
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                if isinstance(statement.value.value, str):
                    yield (node if index == 0 else None), statement.value.value


def said(tree: ast.Module) -> Iterator[str]:
    """Yield every text of a module, docstrings among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", SOURCES)
def test_docstrings_open_plainly(path: str) -> None:
    tree = ast.parse(Path(REPOSITORY, path).read_text())
    assert not [text for _, text in docstrings(tree) if OPENING.match(text)]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert not [
        text for node, text in docstrings(tree) if isinstance(node, functions) and THIRD_PERSON.match(text)
    ]


@pytest.mark.parametrize("path", SOURCES)
def test_no_text_of_the_program_is_a_riddle(path: str) -> None:
    texts = list(said(ast.parse(Path(REPOSITORY, path).read_text())))
    found = {
        (text, better) for text in texts for riddle, better in RIDDLES.items() if re.search(riddle, text)
    }
    assert not found


@pytest.mark.parametrize("path", PAGES)
def test_no_page_of_the_manual_is_a_riddle(path: str) -> None:
    text = " ".join(Path(REPOSITORY, path).read_text().split())
    assert not [better for riddle, better in RIDDLES.items() if re.search(riddle, text)]
