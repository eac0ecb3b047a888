"""Each example of the manual's page is what it says."""

import re
from pathlib import Path

import pytest

from pgtop.commands.docs import PAGES
from pgtop.commands.leaks.formats import SHORT
from pgtop.leaks.findings import STANDARD, Rule
from pgtop.leaks.silencing import Settings
from pgtop.leaks.survey import survey

EXAMPLES = re.findall(
    r"<!-- (bad [\w-]+|good) -->\n```python\n(.*?)```",
    (PAGES / "leaks.md").read_text(encoding="utf-8"),
    re.DOTALL,
)


@pytest.mark.parametrize(("kind", "text"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_found_if_it_is_bad(tmp_path: Path, kind: str, text: str) -> None:
    (tmp_path / "example.py").write_text(text, encoding="utf-8")
    found = survey([tmp_path], Settings()).findings
    assert [f"bad {each.finding.rule}" for each in found] == ([kind] if kind != "good" else [])


def test_each_standard_rule_has_a_bad_and_a_good_example() -> None:
    kinds = [kind for kind, _ in EXAMPLES]
    assert {kind for kind in kinds if kind != "good"} == {f"bad {rule}" for rule in STANDARD}
    assert kinds.count("good") >= len(STANDARD)


def test_each_rule_is_on_the_page_and_has_its_words() -> None:
    page = (PAGES / "leaks.md").read_text(encoding="utf-8")
    assert [rule for rule in Rule if f"### {rule}\n" not in page and f"- `{rule}`:" not in page] == []
    assert set(SHORT) == set(Rule)
