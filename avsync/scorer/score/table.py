"""Report table: what `avsync score` prints of a clip: what it is, the faces, a row per window, the verdict.

Nothing is cut: a pipe gets plain text. The offset's column says its sign in its header.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from avsync.scorer.score.evidence import SURE
from avsync.scorer.score.report import ClipMedia, ClipReport, FaceReport, Outcome
from avsync.scorer.score.verdict_words import MARKS, offset_words, signed_words, time_words
from avsync.scorer.signal import LipSyncSignal
from avsync.units import to_ms

SHOWN = 120
"""So many rows are printed; ``--json`` has them all."""

_VERDICT_STYLE: dict[Outcome, str] = {"in_sync": "bold green", "out_of_sync": "bold red", "unsure": "bold yellow"}


def print_report(out: Console, report: ClipReport, *, blocks: bool = False) -> None:
    """A clip's tables on a screen or into a pipe."""
    say(out, f"{report.file}: {media_words(report.media)}", "bold")
    settings = report.settings
    say(out, f"{settings.method}, offsets within ±{settings.search_ms:.0f} ms by {settings.step_ms:g} ms", "dim")
    for note in report.notes:
        say(out, note, "yellow")
    _print_faces(out, report)
    if blocks:
        _print_rows(out, "blocks", report.face.blocks)
    _print_rows(out, "windows", report.face.windows)
    say(out, report.verdict, _VERDICT_STYLE[report.outcome])


def say(out: Console, text: str, style: str = "") -> None:
    """A line as it is: no markup read in it, no break put into it."""
    out.print(Text(text, style=style), soft_wrap=True)


def media_words(media: ClipMedia) -> str:
    """``12.0 s, 1280x720 at 25 fps, sound 44.1 kHz``."""
    rate = f"about {media.fps:.3g} fps, variable" if media.variable else f"{media.fps:.4g} fps"
    size = f"{media.width_px}x{media.height_px}"
    return f"{media.duration_ms / 1000:.1f} s, {size} at {rate}, sound {media.sound_rate_hz / 1000:g} kHz"


def face_words(face: FaceReport) -> str:
    """``212 px wide at (640, 360), seen 98 % of the time``."""
    seen = f"seen {face.seen_pct:.0f} % of the time"
    return f"{face.width_px:.0f} px wide at ({face.x_px:.0f}, {face.y_px:.0f}), {seen}"


def _print_faces(out: Console, report: ClipReport) -> None:
    if len(report.faces) == 1:
        say(out, f"one face, {face_words(report.face)}")
        return
    for face in report.faces:
        answer = face.answer
        found = "nothing can be said"
        if answer.offset_ms is not None:
            found = f"similarity {answer.score_best:.2f}, confidence {answer.confidence:.2f}"
            found += f" ({offset_words(answer.offset_ms)})" if answer.sure else ""
        mark = "*" if face.number == report.chosen else " "
        say(out, f"{mark} face {face.number}: {face_words(face)}; {found}", "" if mark == "*" else "dim")
    say(out, report.why)


def _print_rows(out: Console, name: str, signals: Sequence[LipSyncSignal]) -> None:
    if not signals:
        return
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1))
    table.add_column(name, no_wrap=True)
    for header in ("voice\nahead", "score\nat 0", "\nbest", "\nmargin", "confi-\ndence"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for signal in signals[:SHOWN]:
        table.add_row(*_cells(signal), style="" if signal.confidence >= SURE else "dim")
    _print_whole(out, table)
    if len(signals) > SHOWN:
        say(out, f"... and {len(signals) - SHOWN} more {name}; --json has all of them")


def _print_whole(out: Console, table: Table) -> None:
    """On a screen that is too narrow the screen wraps the lines; numbers stay whole."""
    needed = out.measure(table, options=out.options.update(width=1000)).maximum
    wide = out.options.update(width=max(out.width, needed))
    out.print(Segments(list(out.render(table, wide))), soft_wrap=True, end="")


def _cells(signal: LipSyncSignal) -> list[str]:
    start_ms = to_ms(signal.pts_ns)
    place = f"{time_words(start_ms)} - {time_words(start_ms + to_ms(signal.duration_ns))}"
    says = MARKS[signal.label]
    if signal.occluded and signal.label not in ("occluded", "no_face"):
        says += ", mouth partly covered"
    numbers = [_number(value) for value in (signal.score, signal.score_best, signal.score_margin)]
    offset = "" if signal.offset_ms is None else signed_words(signal.offset_ms)
    return [place, offset, *numbers, f"{signal.confidence:.2f}", says]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
