"""MaxRoiPool: the maxima of the cells of regions of images."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


def max_roi_pool(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    """`args`: images [N, C, H, W] and regions [R, 5]: an image, then left, top, right, bottom, all inside.

    A cell without elements gives 0.
    """
    images, regions = args
    rows, columns, scale = (attributes[name] for name in ("rows", "columns", "scale"))
    made = np.zeros((len(regions), images.shape[1], rows, columns), images.dtype)
    for region, place in zip(regions, made, strict=True):
        left, top, right, bottom = (int(np.floor(number * scale + 0.5)) for number in region[1:].tolist())
        for row, (first, last) in enumerate(_cells(top, bottom, rows, images.shape[2])):
            for column, (start, stop) in enumerate(_cells(left, right, columns, images.shape[3])):
                cell = images[int(region[0]), :, first:last, start:stop]
                if cell.size:
                    place[:, row, column] = cell.max((1, 2))
    return [made]


def _cells(first: int, last: int, count: int, extent: int) -> list[tuple[int, int]]:
    """The bounds of `count` cells over the elements from `first` to `last`, inside an extent."""
    size = max(last - first + 1, 1) / count
    ends = [
        (int(np.floor(index * size)) + first, int(np.ceil((index + 1) * size)) + first)
        for index in range(count)
    ]
    return [(min(max(begin, 0), extent), min(max(end, 0), extent)) for begin, end in ends]
