"""The tables of ``avsync scorer evaluate``: plain text, the reported half beside the development half.

UNKNOWN (a dash) where there were no trials, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PARTS: Final = ("all", "development", "reported")
NOTHING: Final = "-"


def print_summary(out: Console, found: dict[str, Any]) -> None:
    """All tables of `summary.summary`; those without rows are left out."""
    _print_clips(out, found["clips"])
    for mode in dict.fromkeys(row["mode"] for row in found["accuracy"]):
        for step_ms in dict.fromkeys(row["step_ms"] for row in found["accuracy"]):
            rows = [row for row in found["accuracy"] if row["mode"] == mode and row["step_ms"] == step_ms]
            _print_accuracy(out, f"right within 40 ms, {mode}, {step_ms} ms lags: %", rows)
    _print_seeds(out, found["seeds"], found["spread"])
    _print_bias(out, found["bias"])
    for step_ms in dict.fromkeys(row["step_ms"] for row in found["confidence"]):
        rows = [row for row in found["confidence"] if row["step_ms"] == step_ms]
        _print_confidence(out, step_ms, rows, found["unrelated"])
        _print_reliability(out, step_ms, rows)
    _print_conditions(out, found["conditions"])
    _print_rates(out, found["rates"])


def _print_clips(out: Console, clips: Sequence[dict[str, Any]]) -> None:
    used = [clip for clip in clips if not clip["left_out"]]
    seconds = sum(clip["seconds"] for clip in used)
    speakers = len({clip["speaker"] for clip in used})
    windows = {name: sum(clip["windows"][name] for clip in used) for name in (used[0]["windows"] if used else ())}
    counted = ", ".join(f"{count} of {int(name) / 1000:g} s" for name, count in windows.items())
    out.print(
        f"{len(used)} clips of {speakers} speakers, {seconds:.0f} s; windows that count: {counted}", soft_wrap=True
    )
    for clip in clips:
        for trouble in clip["troubles"]:
            out.print(Text(f"{clip['file']}: {trouble}", style="dim"), soft_wrap=True)
        if clip["left_out"]:
            out.print(Text(f"left out: {clip['left_out']}", style="bold red"), soft_wrap=True)


def _print_accuracy(out: Console, title: str, rows: Sequence[dict[str, Any]]) -> None:
    """A row per backend and half, the windows side by side."""
    windows = list(dict.fromkeys(row["window_ms"] for row in rows))
    table = _table(title, "backend", "clips")
    for window_ms in windows:
        table.add_column(f"{window_ms / 1000:g} s", justify="right")
        table.add_column("95 % interval", justify="right", style="dim")
        table.add_column("per clip", justify="right")
    for (backend, part), some in _grouped(rows, "backend", "half").items():
        cells = [backend, _part(part, some[0]["clips"])]
        for window_ms in windows:
            row = next(row for row in some if row["window_ms"] == window_ms)
            interval = (
                f"{_number(row['low_pct'])}-{_number(row['high_pct'])}" if row["low_pct"] is not None else NOTHING
            )
            cells += [_number(row["pooled_pct"]), interval, _number(row["averaged_pct"])]
        table.add_row(*cells)
    out.print(table)


def _print_seeds(out: Console, rows: Sequence[dict[str, Any]], spread: Sequence[dict[str, Any]]) -> None:
    """Each training seed, and how far those of a method lie apart."""
    for step_ms in dict.fromkeys(row["step_ms"] for row in rows):
        at_step = [row for row in rows if row["step_ms"] == step_ms]
        _print_accuracy(out, f"weights given, stream, {step_ms} ms lags: %", at_step)
        apart = [row for row in spread if row["step_ms"] == step_ms and row["mean_pct"] is not None]
        for (method, part), some in grouped_by(apart, "method", "half").items():
            words = [
                f"{row['window_ms'] / 1000:g} s {row['mean_pct']:.1f} ({row['low_pct']:.1f} to {row['high_pct']:.1f})"
                for row in some
            ]
            out.print(f"{method}, mean of {some[0]['weights']} weights, {part}: {', '.join(words)}", soft_wrap=True)


def _print_bias(out: Console, rows: Sequence[dict[str, Any]]) -> None:
    table = _table("signed error, 2 s, 20 ms lags (+: says voice further ahead): ms over clips", "backend", "clips")
    for header in ("median", "25 %", "75 %", "lowest", "highest"):
        table.add_column(header, justify="right")
    names = ("median_ms", "quarter_ms", "three_quarters_ms", "lowest_ms", "highest_ms")
    for row in rows:
        table.add_row(row["backend"], _part(row["half"], row["clips"]), *(_signed(row[name]) for name in names))
    out.print(table)


def _print_confidence(
    out: Console, step_ms: int, rows: Sequence[dict[str, Any]], unrelated: Sequence[dict[str, Any]]
) -> None:
    """What a confidence above 0.8 is worth; and the error when only the surest part is kept."""
    kept = (50, 75, 90, 100)
    table = _table(f"confidence, stream, {step_ms} ms lags: %", "backend", "clips", "window")
    for header in (
        "> 0.8",
        "wrong of it",
        *(f"wrong in surest {share} %" for share in kept),
        "other's > 0.8",
        "beyond > 0.8",
    ):
        table.add_column(header, justify="right")
    for row in rows:
        errors = dict(row["coverage"])
        same = [
            next(
                (
                    other["confident_pct"]
                    for other in unrelated
                    if other["kind"] == kind
                    and all(other[name] == row[name] for name in ("backend", "half", "step_ms", "window_ms"))
                ),
                None,
            )
            for kind in ("other", "beyond")
        ]
        numbers = [row["sure"]["covered_pct"], row["sure"]["wrong_pct"], *(errors[share] for share in kept), *same]
        head = (row["backend"], row["half"], f"{row['window_ms'] / 1000:g} s")
        table.add_row(*head, *map(_number, numbers))
    out.print(table)


def _print_reliability(out: Console, step_ms: int, rows: Sequence[dict[str, Any]]) -> None:
    """Ten bins of confidence: how many of the answers in each were right, and how many there were."""
    table = _table(
        f"right among answers of a confidence (how many answers), {step_ms} ms lags: %", "backend", "clips", "window"
    )
    for place in range(10):
        table.add_column(f"{place / 10:g}-{(place + 1) / 10:g}", justify="right")
    for row in rows:
        cells = [
            f"{_number(one['right_pct'])} ({one['trials']})" if one["trials"] else NOTHING for one in row["reliability"]
        ]
        table.add_row(row["backend"], row["half"], f"{row['window_ms'] / 1000:g} s", *cells)
    out.print(table)


def _print_conditions(out: Console, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    table = _table("spoiled clips, 1 s, stream, 40 ms lags: %", "backend", "clips", "condition")
    for header in ("right", "clean", "loss", "face lost"):
        table.add_column(header, justify="right")
    for row in sorted(rows, key=lambda row: (row["backend"], PARTS.index(row["half"]))):
        names = ("pooled_pct", "clean_pct", "loss_points", "untracked_pct")
        table.add_row(row["backend"], row["half"], row["condition"], *(_number(row[name]) for name in names))
    out.print(table)


def _print_rates(out: Console, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    title = (
        "other picture rates: right at 1 s, 40 ms lags (%); how far each clip's answer at 2 s, 20 ms lags moves (ms)"
    )
    table = _table(title, "backend", "clips", "fps")
    for header in ("right", "as it is", "loss", "median move", "mean move", "largest"):
        table.add_column(header, justify="right")
    for row in sorted(rows, key=lambda row: (row["backend"], PARTS.index(row["half"]))):
        shares = [_number(row[name]) for name in ("pooled_pct", "clean_pct", "loss_points")]
        moves = [_signed(row["moved_median_ms"]), _signed(row["moved_mean_ms"]), _number(row["moved_most_ms"])]
        table.add_row(row["backend"], row["half"], row["condition"], *shares, *moves)
    out.print(table)


def _grouped(rows: Sequence[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    return dict(sorted(grouped_by(rows, *names).items(), key=lambda item: _order(rows, item[0])))


def grouped_by(rows: Sequence[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _order(rows: Sequence[dict[str, Any]], group: tuple[Any, ...]) -> tuple[int, int]:
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    return backends.index(group[0]), PARTS.index(group[1])


def _table(title: str, *headers: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="italic",
        box=box.SIMPLE_HEAD,
        header_style="bold",
        pad_edge=False,
    )
    for header in headers:
        table.add_column(header, no_wrap=True)
    return table


def _part(part: str, clips: int) -> str:
    return f"{part} ({clips})"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def _signed(value: float | None) -> str:
    return NOTHING if value is None else f"{round(value):+d}" if round(value) else "0"
