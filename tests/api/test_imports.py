"""The modules that come with pgtop: none by `import pgtop`, no command line and no screen by the api."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import environment

LIBRARIES = {"asyncpg", "msgspec", "platformdirs", "typing_extensions", "cython_runtime"}
"""All that the api takes from elsewhere."""


def loaded(home: Path, program: str) -> list[str]:
    """Return the modules that a program imports, beyond those of the interpreter itself."""
    listing = "import sys; before = set(sys.modules)\n{}\nprint(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", listing.format(program)],
        env=environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_pgtop_alone_imports_nothing_more(tmp_path: Path) -> None:
    assert loaded(tmp_path, "import pgtop") == ["pgtop"]


@pytest.mark.parametrize(
    "program", ["import pgtop.api", "import pgtop; pgtop.connect('host=127.0.0.1', read_only=False)"]
)
def test_the_api_imports_no_command_line_and_no_screen(tmp_path: Path, program: str) -> None:
    modules = loaded(tmp_path, program)
    top_level = {each.partition(".")[0] for each in modules}
    top_level = {each for each in top_level if not each.startswith("_cython_")}  # the driver's own
    foreign = top_level - set(sys.stdlib_module_names) - {"pgtop"}
    assert foreign <= LIBRARIES, foreign
    rooms = {each.split(".")[1] for each in modules if each.startswith("pgtop.")}
    assert not rooms & {"commands", "daemon", "demo", "tui"}


def test_another_name_of_pgtop_is_an_attribute_error(tmp_path: Path) -> None:
    program = "import pgtop\ntry: pgtop.nothing\nexcept AttributeError: pass\nelse: raise SystemExit(1)"
    assert "pgtop.api" not in loaded(tmp_path, program)
