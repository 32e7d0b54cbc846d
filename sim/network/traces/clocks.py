"""One-way delays measured by two clocks: the clocks' offset and drift are taken out again."""

from __future__ import annotations

from avsync.units import NS_PER_S

_MAX_DRIFT_PPM = 1_000  # more than any clock: that slope is queues, not drift

SentDelay = tuple[int, int]  # (sent at, delay) in ns


def floor_line(points: list[SentDelay]) -> tuple[int, int, int]:
    """(x0, y0, slope in ppm of a ppm): the line below all points that lies closest to them.

    The edge of the lower convex hull over the mean time minimises the summed distance (Moon,
    Skelly, Towsley 1999). Points ascending in time, no two at the same. A slope that no clock
    has is read as 0.
    """
    hull: list[SentDelay] = []
    for x, y in points:
        while len(hull) > 1:
            (x1, y1), (x2, y2) = hull[-2:]
            if (y2 - y1) * (x - x2) < (y - y2) * (x2 - x1):
                break
            hull.pop()
        hull.append((x, y))
    middle = sum(x for x, _ in points) // len(points)
    left = max((i for i, (x, _) in enumerate(hull) if x <= middle), default=0)
    right = min(left + 1, len(hull) - 1)
    (x1, y1), (x2, y2) = hull[left], hull[right]
    lowest = min(y for _, y in points)
    if x1 == x2 or abs(y2 - y1) * 1_000_000 > _MAX_DRIFT_PPM * (x2 - x1):
        return x1, lowest, 0
    return x1, y1, (y2 - y1) * 10**12 // (x2 - x1)


def line_at(line: tuple[int, int, int], x: int) -> int:
    return line[1] + (x - line[0]) * line[2] // 10**12


def above_floor(points: list[SentDelay]) -> tuple[list[int], tuple[int, int, int]]:
    """Each delay above its floor line (>= 0), and that line."""
    line = floor_line(points)
    return [max(y - line_at(line, x), 0) for x, y in points], line


def drift_text(line: tuple[int, int, int]) -> str:
    return f"clock offset {line[1] / NS_PER_S * 1000:.3g} ms and drift {line[2] / 1e6:.1f} ppm removed"
