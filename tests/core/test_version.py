"""Which avsync is this: the version, and whether its core is compiled."""

from __future__ import annotations

import pytest

from avsync import __version__, version
from avsync.cli import main
from avsync.engine import voice


def test_version_says_which_build_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    build = "pure Python" if (voice.__file__ or "").endswith(".py") else "compiled"
    assert end.value.code == 0 and capsys.readouterr().out == f"avsync {__version__} ({build})\n"


@pytest.mark.parametrize(("compiled", "word"), [(False, "(pure Python)"), (True, "(compiled)")])
def test_both_builds_have_a_word(compiled: bool, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "COMPILED", compiled)
    assert version.spoken() == f"avsync {__version__} {word}"
