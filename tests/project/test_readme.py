"""README and docs quote what was measured: their tables are the committed ones, and the example is a scenario."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.scenario.scenario import loads

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "page"), [("baseline", "README.md"), ("glass", "docs/glass.md")])
def test_the_table_is_the_one_that_was_measured(name: str, page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    quoted = text.split(f"<!-- results/{name}/table.md -->")[1].split("<!-- end -->")[0]
    assert quoted.strip() == (ROOT / "results" / name / "table.md").read_text(encoding="utf-8").strip()


def test_the_example_is_a_scenario_that_the_lab_accepts() -> None:
    text = README.split("```yaml\n")[1].split("```")[0]
    assert loads(text, "my_call.yaml").faults == ((20.0, 21.0),)
