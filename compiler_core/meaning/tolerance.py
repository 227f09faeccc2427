"""Tolerances: the error of a value from the types in which it is stored and summed.

Every float is rounded when it is made, and once more for each term of a sum in the order that a schedule
happens to choose. Both follow from the machine epsilon of the type, the number of terms, and the size of the
rounded numbers, never from the size of the result: where terms cancel, the result is smaller than its error.
"""

import math
from typing import Any

import ml_dtypes

from tilewright.compiler_core.ir.dtypes import DType

STORED = 1.0
"""Epsilons of the storage type, of the value itself: one rounding is at most half of one."""
COMPUTED = 4.0
"""The error of a library's exp or sqrt, in epsilons of the accumulator type and of the value itself."""
SUMMED = 4.0
"""Epsilons of the accumulator type, of the magnitudes of a sum's terms added up: roundings of its parts."""
GROWING = 2.0
"""Epsilons of the accumulator type, of a sum itself for each square root of a term: roundings of parts that
grow with it, by the probabilistic bound of Higham and Mary (SIAM J. Sci. Comput. 41, 2019).
"""
UNDERFLOW = 4.0
"""Smallest subnormals that any value may be off by."""
TOGETHER = 2.0
"""Times the root of the sum of their squares that independent errors may come to, when they are added up."""


def epsilon(dtype: DType) -> float:
    """The distance from one to the next float of a type."""
    return float(_limits(dtype).eps)


def relative_tolerance(dtype: DType) -> float:
    """The error that one op may add to a value that it stores, relative to that value."""
    return STORED * epsilon(dtype) + COMPUTED * epsilon(dtype.accumulator)


def summing_tolerance(dtype: DType) -> float:
    """The error of a sum, relative to the magnitudes of its terms."""
    return SUMMED * epsilon(dtype.accumulator)


def growing_tolerance(dtype: DType, terms: int) -> float:
    """The error of a sum of so many terms, relative to the sum."""
    return GROWING * epsilon(dtype.accumulator) * math.sqrt(terms)


def absolute_tolerance(dtype: DType) -> float:
    """The error below the smallest float of a type."""
    return UNDERFLOW * float(_limits(dtype).smallest_subnormal)


def is_rounded(dtype: DType) -> bool:
    """Whether values of a type stand for reals with a relative error of its epsilon."""
    return dtype.is_float and dtype.bytes > 1


def _limits(dtype: DType) -> Any:
    # numpy's own finfo lacks bfloat16 and the floats of eight bits.
    return ml_dtypes.finfo(dtype.numpy)  # type: ignore[no-untyped-call]
