"""The picture of a sweep: latency over area, the variants that none beats joined by a line."""

from typing import TYPE_CHECKING

from tilewright.api.pages.drawn.svg import BLUE, FAINT, LETTER, RIGHT, Drawing, across, up

if TYPE_CHECKING:
    from tilewright.tuner.codesign.sweep import Row, Sweep

MOST_NAMED = 24
"""Variants that the picture names where there is room, the unbeaten first; each dot says its own."""
LINE = 14
"""Pixels between two lines of names."""


def sweep_svg(found: "Sweep") -> str:
    """The variants of a sweep; a dot says its variant, its energy and its networks."""
    rows = found.rows
    fronted = sorted((row for row in rows if not row.beaten), key=lambda row: row.area_mm2)
    fastest = min(rows, key=lambda row: row.latency_us)
    drawing = Drawing(
        "Sweep",
        f"{len(rows)} variants of {found.base} on {', '.join(found.models)}. None beats {len(fronted)} of "
        f"them. The fastest, {fastest.label}: {fastest.latency_us:.6g} us on {fastest.area_mm2:.4g} mm2.",
    )
    areas, latencies = [row.area_mm2 for row in rows], [row.latency_us for row in rows]
    x = across(min(areas) * 0.95, max(areas) * 1.05)
    y = up(min(latencies) * 0.95, max(latencies) * 1.05, logarithmic=max(latencies) > 20 * min(latencies))
    drawing.axes(x, y, "area of units and memories, mm2 at 45 nm (a proxy)", "us, geometric mean")
    staircase: list[tuple[float, float]] = []
    least: float | None = None
    for row in fronted:
        if least is None or row.latency_us < least:
            staircase.append((x(row.area_mm2), y(row.latency_us)))
            least = row.latency_us
    drawing.line(staircase, BLUE, "4 3", 1.5)
    for row in sorted(rows, key=lambda row: not row.beaten):
        drawing.dot(x(row.area_mm2), y(row.latency_us), 5, FAINT if row.beaten else BLUE, _says(row))
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: row.beaten)[:MOST_NAMED]:
        room = LETTER * len(row.label)
        at = min(x(row.area_mm2) + 7, drawing.width - RIGHT - room), y(row.latency_us) - 6
        if all(abs(at[0] - other[0]) > room or abs(at[1] - other[1]) > LINE for other in taken):
            taken.append(at)
            drawing.text(*at, row.label)
    return str(drawing)


def _says(row: "Row") -> str:
    energy = "" if row.energy_uj is None else f", {row.energy_uj:.5g} uJ"
    return f"{row.label}: {row.latency_us:.5g} us{energy}, {row.area_mm2:.4g} mm2"
