"""The same slices as an SVG picture for reports: a row an engine, time to the right, waiting in grey."""

from collections.abc import Iterable
from html import escape

from compiler_core.target import Target
from measure.simulator.trace import STAGES, Slice

_COLOURS = {
    STAGES: "#8c8c8c",
    "host": "#b07aa1",
    "kernel": "#bab0ac",
    "load": "#4e79a7",
    "matrix": "#e15759",
    "vector": "#59a14f",
    "store": "#f28e2b",
}
_STALL = "#e6e6e6"
_LEFT, _ROW, _GAP, _TOP = 130, 22, 4, 24
_LEAST_WIDTH = 0.25
"""Slices narrower than this many pixels are joined with their neighbours of the same kind."""


def svg_timeline(slices: Iterable[Slice], target: Target, width: int = 1400) -> str:
    """One self-contained <svg>, `width` pixels wide, with a tooltip on every slice."""
    pieces = [piece for piece in slices if piece.cycles > 0]
    rows = list(dict.fromkeys((piece.lane, piece.track) for piece in pieces))
    end = max((piece.start_cycle + piece.cycles for piece in pieces), default=1)
    scale = (width - _LEFT - 10) / end
    height = _TOP + len(rows) * (_ROW + _GAP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<text x="{_LEFT}" y="14">{end / target.cycles_per_us:.2f} us on {escape(target.name)}</text>',
    ]
    for row, (lane, track) in enumerate(rows):
        y = _TOP + row * (_ROW + _GAP)
        parts.append(f'<text x="4" y="{y + 15}">{escape(f"{lane} {track}")}</text>')
        own = [piece for piece in pieces if (piece.lane, piece.track) == (lane, track)]
        parts += [_box(piece, y, scale) for piece in _joined(own, scale)]
    return "\n".join([*parts, "</svg>"])


def _joined(pieces: list[Slice], scale: float) -> list[Slice]:
    """Neighbours of one kind, each too narrow to see, as one slice."""
    joined: list[Slice] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if (
            last is not None
            and bool(last.stall) == bool(piece.stall)
            and piece.cycles * scale < _LEAST_WIDTH
            and (piece.start_cycle - last.start_cycle - last.cycles) * scale < _LEAST_WIDTH
        ):
            cycles = piece.start_cycle + piece.cycles - last.start_cycle
            joined[-1] = Slice(last.lane, last.track, last.name, last.start_cycle, cycles, last.stall)
        else:
            joined.append(piece)
    return joined


def _box(piece: Slice, y: int, scale: float) -> str:
    x, wide = _LEFT + piece.start_cycle * scale, max(piece.cycles * scale, _LEAST_WIDTH)
    colour = _STALL if piece.stall else _COLOURS[piece.track]
    facts = ", ".join([f"{piece.cycles} cycles", *[f"{name} {value}" for name, value in piece.detail]])
    tooltip = f"<title>{escape(f'{piece.name}: {facts}')}</title>"
    box = f'<rect x="{x:.2f}" y="{y}" width="{wide:.2f}" height="{_ROW}" fill="{colour}">{tooltip}</rect>'
    if wide < 7 * len(piece.name) or piece.stall:
        return box
    return f'{box}<text x="{x + 3:.2f}" y="{y + 15}" fill="#ffffff">{escape(piece.name)}</text>'
