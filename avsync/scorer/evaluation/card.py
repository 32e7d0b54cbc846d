"""The tables of a model card: an evaluation's rows as Markdown, written between two marks of a file.

The file is somebody's text; only what lies between the marks is ours. What misses a limit is bold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from avsync.errors import InputError
from avsync.scorer.evaluation.table import NOTHING, grouped_by

BEGIN: Final = "<!-- numbers: written by avsync scorer evaluate --card -->"
END: Final = "<!-- end of numbers -->"

FLOORS_PCT: Final = {"fused": (76.0, 88.0, 97.0), "geometry": (70.0, 86.0, 95.0), "pixels": (66.0, 80.0, 90.0)}
"""Right at 0.5, 1 and 2 s: what each backend must reach."""
LOSS_MOST: Final = 6.0
"""Points that a spoiled clip may cost at 1 s."""
RATE_LOSS_MOST: Final = 3.0
MOVED_MOST_MS: Final = 10.0
"""The same for another picture rate, and how far it may move the answer on the whole."""
BIAS_MOST_MS: Final = 10.0
"""Of the median over clips."""
WRONG_MOST: Final = 1.0
"""Percent of the sure answers."""
COVERED_LEAST: Final = {1000: 40.0, 2000: 80.0}
"""Percent of the windows of a length that are to be answered surely."""
STRANGERS_MOST: Final = 5.0
"""Percent of 2 s windows with somebody else's voice, or an offset beyond the search, that are answered surely."""

Row = dict[str, Any]


def check_card(file: Path) -> None:
    """InputError unless the file can be read and holds both marks."""
    try:
        _around(file.read_text("utf-8"), file)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"not readable ({error})", file=str(file), remedy="name a Markdown file") from error


def write_card(file: Path, found: dict[str, Any]) -> None:
    """Put the tables of `summary.summary` between the file's marks."""
    before, after = _around(file.read_text("utf-8"), file)
    file.write_text(f"{before}{BEGIN}\n\n{card(found)}\n{END}{after}", "utf-8")


def card(found: dict[str, Any]) -> str:
    """All tables; those without rows are left out."""
    sections = [
        _counted(found["clips"]),
        _accuracy(found["accuracy"]),
        _modes(found["accuracy"]),
        _seeds(found["seeds"], found["spread"]),
        _sure(found["confidence"], found["unrelated"]),
        _bias(found["bias"]),
        _conditions(found["conditions"]),
        _rates(found["rates"]),
    ]
    return "\n".join(section for section in sections if section)


def _around(text: str, file: Path) -> tuple[str, str]:
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError("has no place for the tables", file=str(file), remedy=f"add two lines: {BEGIN} and {END}")
    return before, after


def _counted(clips: Sequence[Row]) -> str:
    used = [clip for clip in clips if not clip["left_out"]]
    seconds, speakers = sum(clip["seconds"] for clip in used), len({clip["speaker"] for clip in used})
    return f"{len(used)} clips of {speakers} speakers, {seconds:.0f} s.\n"


def _accuracy(rows: Sequence[Row]) -> str:
    headline = [row for row in rows if row["mode"] == "stream" and row["step_ms"] == 40]
    windows = list(dict.fromkeys(row["window_ms"] for row in headline))
    lines = []
    for (backend, half), some in grouped_by(headline, "backend", "half").items():
        floors = FLOORS_PCT.get(backend, (0.0,) * len(some))
        cells = [_interval(row, least) for row, least in zip(some, floors, strict=True)]
        cells.append(" / ".join(_number(row["averaged_pct"]) for row in some))
        lines.append((backend, f"{half} ({some[0]['clips']})", *cells))
    head = ("backend", "clips", *map(_seconds, windows), "mean over clips")
    return _table(
        "Right within 40 ms, stream, 40 ms lags, % pooled (95 % interval when clips are drawn anew)", head, lines
    )


def _modes(rows: Sequence[Row]) -> str:
    """The same for every mode and lag step, side by side."""
    asked = list(dict.fromkeys((row["mode"], row["step_ms"]) for row in rows))
    if len(asked) < 2:
        return ""
    lines = []
    for (backend, half), some in grouped_by(rows, "backend", "half").items():
        same = [[row for row in some if (row["mode"], row["step_ms"]) == one] for one in asked]
        lines.append((backend, half, *(" / ".join(_number(row["pooled_pct"]) for row in part) for part in same)))
    head = ("backend", "clips", *(f"{mode}, {step_ms} ms" for mode, step_ms in asked))
    return _table("The same at 0.5 / 1 / 2 s in each mode, by lag step, % pooled", head, lines)


def _seeds(rows: Sequence[Row], spread: Sequence[Row]) -> str:
    """Other trainings, each by itself, then their mean and how far they lie apart."""
    rows, spread = ([row for row in some if row["step_ms"] == 40] for some in (rows, spread))
    lines = [
        (backend, half, *(_number(row["pooled_pct"]) for row in some))
        for (backend, half), some in grouped_by(rows, "backend", "half").items()
    ]
    for (method, half), some in grouped_by(spread, "method", "half").items():
        means = (f"{_number(row['mean_pct'])} ({_number(row['low_pct'])}-{_number(row['high_pct'])})" for row in some)
        lines.append((f"{method}, mean of {some[0]['weights']}", half, *means))
    head = ("weights", "clips", *map(_seconds, dict.fromkeys(row["window_ms"] for row in rows)))
    return _table("Other training seeds, stream, 40 ms lags, %", head, lines)


def _sure(rows: Sequence[Row], unrelated: Sequence[Row]) -> str:
    strange = {
        (row["kind"], row["backend"], row["half"], row["window_ms"]): row["confident_pct"]
        for row in unrelated
        if row["step_ms"] == 40
    }
    lines = []
    for row in rows:
        if row["step_ms"] == 40:
            key = row["backend"], row["half"], row["window_ms"]
            most = STRANGERS_MOST if row["window_ms"] == 2000 else None
            others = (_number(strange.get((kind, *key)), most=most) for kind in ("other", "beyond"))
            answers = row["sure"]
            least = COVERED_LEAST.get(row["window_ms"])
            shares = _number(answers["covered_pct"], least=least), _number(answers["wrong_pct"], most=WRONG_MOST)
            lines.append((row["backend"], row["half"], _seconds(row["window_ms"]), *shares, *others))
    head = ("backend", "clips", "window", "covered", "wrong of these", "other's voice", "beyond the search")
    return _table("Answers surer than 0.8, stream, 40 ms lags, %", head, lines)


def _bias(rows: Sequence[Row]) -> str:
    names = ("median_ms", "quarter_ms", "three_quarters_ms", "lowest_ms", "highest_ms")
    most = {"median_ms": BIAS_MOST_MS}
    lines = [
        (
            row["backend"],
            f"{row['half']} ({row['clips']})",
            *(_signed(row[name], most=most.get(name)) for name in names),
        )
        for row in rows
    ]
    head = ("backend", "clips", "median", "25 %", "75 %", "lowest", "highest")
    return _table("Signed error, 2 s, 20 ms lags, ms over clips", head, lines)


def _conditions(rows: Sequence[Row]) -> str:
    """A row per condition, the backends side by side."""
    lines = [
        (half, condition, *(_harmed(row, LOSS_MOST) for row in some), _number(some[0]["untracked_pct"]))
        for (half, condition), some in grouped_by(rows, "half", "condition").items()
    ]
    head = ("clips", "condition", *dict.fromkeys(row["backend"] for row in rows), "face lost")
    return _table(
        f"Spoiled clips, 1 s, stream, 40 ms lags, % right (points lost; bold: over {LOSS_MOST:g})", head, lines
    )


def _rates(rows: Sequence[Row]) -> str:
    lines = []
    for (half, condition), some in grouped_by(rows, "half", "condition").items():
        cells = (
            f"{_harmed(row, RATE_LOSS_MOST)}, {_signed(row['moved_median_ms'], most=MOVED_MOST_MS)} ms" for row in some
        )
        lines.append((half, condition, *cells))
    head = ("clips", "fps", *dict.fromkeys(row["backend"] for row in rows))
    title = (
        f"Other picture rates, % right at 1 s (points lost; bold: over {RATE_LOSS_MOST:g}), how far the answer moves"
    )
    return _table(title, head, lines)


def _harmed(row: Row, most: float) -> str:
    lost = row["loss_points"]
    return f"{_number(row['pooled_pct'])} ({_bold(f'{lost:+.1f}', lost > most)})" if lost is not None else NOTHING


def _table(title: str, head: Sequence[str], lines: Sequence[Iterable[str]]) -> str:
    if not lines:
        return ""
    rows = [head, ["---"] * len(head), *lines]
    return f"{title}:\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _interval(row: Row, least: float) -> str:
    if row["low_pct"] is None:
        return _number(row["pooled_pct"], least=least)
    return f"{_number(row['pooled_pct'], least=least)} ({row['low_pct']:.0f}-{row['high_pct']:.0f})"


def _seconds(window_ms: int) -> str:
    return f"{window_ms / 1000:g} s"


def _number(value: float | None, *, least: float | None = None, most: float | None = None) -> str:
    if value is None:
        return NOTHING
    return _bold(f"{value:.1f}", (least is not None and value < least) or (most is not None and value > most))


def _signed(value: float | None, *, most: float | None = None) -> str:
    if value is None:
        return NOTHING
    return _bold(f"{round(value):+d}" if round(value) else "0", most is not None and abs(value) > most)


def _bold(text: str, really: bool) -> str:
    return f"**{text}**" if really else text
