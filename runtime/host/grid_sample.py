"""GridSample: interpolation between the elements of an array, at places that another array holds."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Tap: TypeAlias = tuple[Array, Array]
"""Indices into one dim, and the weights of the elements there."""

LINEAR, CUBIC, NEAREST = "linear", "cubic", "nearest"
SHARPNESS = -0.75
"""Of the cubic: the slope that every framework takes."""


def grid_sample(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    """`args`: data [N, C, extents] and places [N, places, rank], from -1 to 1, the last dim first."""
    data, grid = args
    mode, padding, corners = (attributes[name] for name in ("mode", "padding", "align_corners"))
    extents = data.shape[2:]
    taps = [
        _taps(grid[..., len(extents) - 1 - dim].astype(np.float64), extent, mode, padding, bool(corners))
        for dim, extent in enumerate(extents)
    ]
    made = np.zeros((*grid.shape[:-1], data.shape[1]))
    if 0 not in data.shape:
        rows = np.arange(data.shape[0]).reshape(-1, *[1] * len(extents))
        for chosen in product(*taps):
            weight = math.prod((weights for _, weights in chosen), start=np.float64(1))
            where: tuple[Any, ...] = (rows, slice(None), *(places for places, _ in chosen))
            picked = data[where]
            made += picked.astype(np.float64) * np.asarray(weight)[..., None]
    return [np.moveaxis(made, -1, 1).astype(data.dtype)]


def _taps(grid: Array, extent: int, mode: str, padding: str, corners: bool) -> list[Tap]:
    at = (grid + 1) / 2 * (extent - 1) if corners else ((grid + 1) * extent - 1) / 2
    if mode != CUBIC:
        at = _inside(at, extent, padding, corners)
    first = np.floor(at)
    if mode == NEAREST:
        places = [(np.rint(at), np.ones_like(at))]
    elif mode == LINEAR:
        places = [(first, 1 - (at - first)), (first + 1, at - first)]
    else:
        # A cubic runs through elements outside too, so these are what a padding gives, not the place.
        steps = (first + step for step in (-1, 0, 1, 2))
        places = [(_inside(place, extent, padding, corners), _cubic(at - place)) for place in steps]
    return [
        (
            np.clip(np.nan_to_num(place), 0, max(extent - 1, 0)).astype(np.int64),
            np.where((place >= 0) & (place <= extent - 1), weight, 0),
        )
        for place, weight in places
    ]


def _inside(at: Array, extent: int, padding: str, corners: bool) -> Array:
    if padding == "border":
        return np.clip(at, 0, extent - 1)
    if padding == "reflection":
        low, high = (0.0, extent - 1.0) if corners else (-0.5, extent - 0.5)
        return np.clip(_reflected(at, low, high), 0, extent - 1)
    return at


def _reflected(at: Array, low: float, high: float) -> Array:
    span = high - low
    if span <= 0:
        return np.full_like(at, low)
    away = np.abs(at - low)
    turns = np.floor(away / span)
    rest = away - turns * span
    return np.where(turns % 2 == 0, low + rest, high - rest)


def _cubic(distance: Array) -> Array:
    d = np.abs(distance)
    near = ((SHARPNESS + 2) * d - (SHARPNESS + 3)) * d * d + 1
    far = ((SHARPNESS * d - 5 * SHARPNESS) * d + 8 * SHARPNESS) * d - 4 * SHARPNESS
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
