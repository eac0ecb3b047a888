"""Code that is odd, or written to break the check, is checked or skipped, and the check ends."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pgtop.leaks.findings import Rule
from pgtop.leaks.silencing import Settings
from pgtop.leaks.survey import Survey, survey

Tree = Callable[..., Path]

TAKEN = 'import psycopg2\n\n\ndef f(x):\n    c = psycopg2.connect("")\n'
LEAK = "import psycopg2\ndef f():\n    return psycopg2.connect('').cursor()\n"


def checked(root: Path) -> Survey:
    return survey([root], Settings(), rules=list(Rule), statement="SELECT 1")


@pytest.mark.parametrize(
    ("text", "is_skipped"),
    [
        (TAKEN + "    d = c" + ".filter(1)" * 400 + "\n", False),
        (TAKEN + "    d = x" + ".b" * 900 + ".connect()\n", False),
        (TAKEN + "    c.execute('SELECT 1'" + " + 'x'" * 900 + ")\n", False),
        (TAKEN + "".join(f"    c{i} = c{i - 1}\n" for i in range(1, 5000)), False),
        (TAKEN + "    d = " + "x if x else " * 400 + "c\n", False),
        (TAKEN + "    d = " + "not " * 10_000 + "c\n", True),
        (TAKEN + "    if x: pass\n" + "    elif x: c.b()\n" * 10_000, True),
        (TAKEN + "    d = x" + ".b" * 10_000 + "\n", True),
    ],
    ids=["calls", "attributes", "sums", "aliases", "choices", "operators", "elifs", "deep attributes"],
)
def test_deeply_nested_code_is_checked_or_skipped(tree: Tree, text: str, is_skipped: bool) -> None:
    result = checked(tree(odd=text))
    reasons = [each.reason for each in result.unreadable]
    assert reasons == (["its code is nested too deeply"] if is_skipped else [])


def test_functions_that_hand_on_far_are_followed_to_a_bound(tree: Tree) -> None:
    chain = "".join(f"def f{i}(c): f{i - 1}(c)\n" for i in range(1, 1000))
    text = f"import psycopg2\ndef f0(c): c.close()\n{chain}def g():\n    f999(psycopg2.connect(''))\n"
    assert not checked(tree(odd=text)).unreadable


def test_names_that_stand_for_each_other_end(tree: Tree) -> None:
    aliases = "".join(f"    c{i} = c{j}\n" for i in range(14) for j in range(14) if i != j)
    found = checked(tree(odd=TAKEN + "    c0 = c\n" + aliases)).findings
    assert Rule.NEVER_CLOSED in {each.finding.rule for each in found}


def test_classes_that_inherit_from_themselves_end(tree: Tree) -> None:
    text = """
        import psycopg2
        class A(A, A, A, A, A, A, A): pass
        class B(A, B, A, B, A, B): pass
        def f():
            x = B()
            return x.get_conn(psycopg2.connect(""))
        """
    assert checked(tree(odd=text)).files == 1


def test_names_that_modules_import_in_a_circle_end(tree: Tree) -> None:
    one = "import psycopg2\nfrom two import get\ndef f():\n    x = get()\n    return x.cursor()\n"
    assert checked(tree(one=one, two="import psycopg2\nfrom one import get\n")).files == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbf# -*- coding: utf-8 -*-\n" + LEAK.encode(),
        b'"""Set encoding: here."""\n' + LEAK.encode(),
        b"x = 1  # coding: hex\n" + LEAK.encode(),
        b"# coding: latin-1\n# \xe9\n" + LEAK.encode(),
        LEAK.replace("\n", "\r\n").encode(),
    ],
    ids=["BOM", "no comment", "code before", "latin-1", "CRLF"],
)
def test_the_encoding_is_read_as_python_reads_it(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "odd.py").write_bytes(raw)
    result = survey([tmp_path], Settings())
    assert not result.unreadable
    assert [each.finding.rule for each in result.findings] == [Rule.NEVER_CLOSED]


@pytest.mark.parametrize("name", ["nowhere", "hex", "undefined"])
def test_an_unknown_encoding_is_skipped(tmp_path: Path, name: str) -> None:
    (tmp_path / "odd.py").write_bytes(f"# coding: {name}\n{LEAK}".encode())
    assert [Path(each.path).name for each in survey([tmp_path], Settings()).unreadable] == ["odd.py"]


def test_a_file_that_two_paths_reach_is_checked_once(tree: Tree) -> None:
    root = tree(
        app__db="import psycopg2\ndef get():\n    return psycopg2.connect('')\n",
        app__jobs="from app.db import get\ndef f():\n    return get().cursor()\n",
    )
    result = survey([root, root / "app", root / "app" / "jobs.py"], Settings())
    assert result.files == 2
    assert len(result.findings) == 1


def test_except_star_protects_as_except_does(tree: Tree) -> None:
    text = """
        import psycopg2

        def f():
            c = psycopg2.connect("")
            try:
                c.cursor()
            except* ValueError:
                raise
            finally:
                c.close()
        """
    assert not survey([tree(odd=text)], Settings()).findings
