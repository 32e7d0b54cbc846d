"""Names from outside are shown so that no terminal acts upon them, and a shell reads them as they are."""

from __future__ import annotations

import subprocess

import pytest

from sim.scenario.words import shell_line, visible


def test_what_can_be_seen_stays_and_what_cannot_is_an_escape() -> None:
    assert visible("Grüße, 世界.yaml") == "Grüße, 世界.yaml"
    assert visible("a\x1b[31mb\rc\u202ed\udce4") == r"a\x1b[31mb\rc\u202ed\udce4"
    assert visible("two\nlines") == "two\nlines"


@pytest.mark.parametrize("word", ["plain", "a b", "it's", "a\x1b[31m.yaml", "it's \\ \n\t\x07", "$HOME `x`", "-n"])
def test_a_shell_reads_back_the_word_that_was_quoted(word: str) -> None:
    line = shell_line(["printf", "%s", word])
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == word
