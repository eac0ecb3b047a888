"""Breaks pgtop in many small ways, one at a time, and says which of them no test notices.

    python -m tests.mutation [--only TEXT] [--workers 2]

Each mutant of `mutants.py` replaces one piece of text in a copy of the tree, and runs the tests that are to
notice it. Status 1 where one survived, or fits the code no more. It takes an hour on two cores, so it is not
part of the suite: run it after a change of what is ended or what is logged.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.mutants import MUTANTS, Mutant

REPOSITORY = Path(__file__).parents[2]
LIMIT_SECONDS = 900
FAILED = 1
"""pytest's exit status where a test failed."""


def main() -> int:
    """Tries the mutants and tells what became of each; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--only", default="", help="mutants whose path or text has this in it")
    parser.add_argument("--workers", type=int, default=2, help="how many at a time")
    asked = parser.parse_args()
    meant = [each for each in MUTANTS if asked.only in f"{each.path} {each.old} {each.new}"]
    with ThreadPoolExecutor(asked.workers) as pool:
        for tests in dict.fromkeys(each.tests for each in meant):
            if (said := _verdict(None, tests)) != "SURVIVED":
                _tell(f"{' '.join(tests)}: {said} without any mutant")
                return 1
        verdicts = list(pool.map(_tried, meant))
    noticed = verdicts.count("noticed")
    _tell(f"{len(meant)} mutants, {noticed} noticed, {len(meant) - noticed} not")
    return 0 if noticed == len(meant) else 1


def _tried(mutant: Mutant) -> str:
    verdict = _verdict(mutant, mutant.tests)
    old, new = (" ".join(text.split()) for text in (mutant.old, mutant.new))
    _tell(f"{verdict:9} {mutant.path}: {old!r} -> {new!r}")
    return verdict


def _verdict(mutant: Mutant | None, tests: Sequence[str]) -> str:
    with tempfile.TemporaryDirectory(prefix="mutant-") as place:
        tree = Path(place, "tree")
        Path(place).chmod(0o755)  # servers of another user read their programs from here
        shutil.copytree(REPOSITORY, tree, symlinks=True, ignore=shutil.ignore_patterns(".*", "screenshots"))
        if (REPOSITORY / ".servers").exists():
            (tree / ".servers").symlink_to((REPOSITORY / ".servers").resolve())
        if mutant is not None:
            file = tree / mutant.path
            text = file.read_text()
            if text.count(mutant.old) != 1:
                return f"does not fit ({text.count(mutant.old)} times)"
            file.write_text(text.replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
        try:
            done = subprocess.run(
                [*command, *tests],
                cwd=tree,
                env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": place},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "noticed"  # it hangs
        if done.returncode not in (0, FAILED):
            return f"not tried: {done.stdout.decode(errors='replace')[-1000:]}"
        return "noticed" if done.returncode else "SURVIVED"


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
