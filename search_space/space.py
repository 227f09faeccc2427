"""The space of Configs of one kernel: knobs, a static validity rule, and the moves a search makes in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import ConfigError
from tilewright.search_space.knobs import Config, Knob, Rows

Feasible = Callable[[Rows], npt.NDArray[np.bool_]]
Canonical = Callable[[Rows], Rows]


def everything_is_feasible(rows: Rows) -> npt.NDArray[np.bool_]:
    """The validity rule of a space without constraints."""
    return np.ones(len(rows), dtype=np.bool_)


def every_row_is_canonical(rows: Rows) -> Rows:
    """The canonical form in a space where every combination means something else."""
    return rows


@dataclass(frozen=True)
class Space:
    """Knobs, and which of their combinations a search may ask for.

    `feasible` maps rows [n, knobs] to booleans [n]: capacity, alignment and other static rules, checked
    before anything is compiled. `rules` is the text that stands for those rules in the digest.
    `canonical` maps each row to the one that stands for all rows of the same meaning; only that one is
    feasible. `begins` tells of rows [n, k] of the first k knobs which of them may still become feasible;
    a space that has it is enumerated knob by knob, however large its grid is.

        tile_0=56 (all of it), loop_order="0 1"  ->  tile_0=56, loop_order="1 0" (first of the equal orders)
    """

    knobs: tuple[Knob, ...]
    feasible: Feasible = field(default=everything_is_feasible, compare=False)
    rules: str = ""
    canonical: Canonical = field(default=every_row_is_canonical, compare=False)
    begins: Feasible | None = field(default=None, compare=False)

    @cached_property
    def digest(self) -> str:
        """Content digest over knob names, values and rules."""
        return digest_of(
            {
                "knobs": [[knob.name, knob.ordered, list(knob.values)] for knob in self.knobs],
                "rules": self.rules,
            }
        )

    @cached_property
    def widths(self) -> npt.NDArray[np.int32]:
        """The number of values of each knob, int32 [knobs]."""
        return np.array([len(knob.values) for knob in self.knobs], dtype=np.int32)

    @cached_property
    def ordered(self) -> npt.NDArray[np.bool_]:
        """Whether the values of each knob are ordered, [knobs]."""
        return np.array([knob.ordered for knob in self.knobs], dtype=np.bool_)

    @cached_property
    def single_changes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Every value of every knob: columns and values."""
        column = np.repeat(np.arange(len(self.knobs)), self.widths)
        return column, np.concatenate([np.arange(width, dtype=np.int32) for width in self.widths])

    @property
    def grid_size(self) -> int:
        """Number of combinations before `feasible` is asked."""
        size = 1
        for knob in self.knobs:
            size *= len(knob.values)
        return size

    def settle(self, rows: Rows) -> Rows:
        """The canonical forms of `rows` that are feasible, [<= n, knobs]; two rows may become one."""
        settled = self.canonical(rows)
        kept: Rows = settled[self.feasible(settled)]
        return kept

    def encode(self, config: Config) -> Rows:
        """`config` as a row int32 [knobs]; ConfigError names the first knob that does not fit."""
        given = dict(config.items)
        row = np.empty(len(self.knobs), dtype=np.int32)
        for column, knob in enumerate(self.knobs):
            if knob.name not in given and knob.absent is not None:
                given[knob.name] = knob.absent
            if knob.name not in given:
                raise ConfigError(f"config lacks knob {knob.name!r}; give it one of {list(knob.values)}")
            value = given.pop(knob.name)
            at = knob.position.get((type(value).__name__, value))
            if at is None:
                raise ConfigError(f"knob {knob.name!r} cannot be {value!r}; choose from {list(knob.values)}")
            row[column] = at
        if given:
            raise ConfigError(f"config has a knob {next(iter(given))!r} that is not in the space")
        return row

    def decode(self, row: Rows | Sequence[int]) -> Config:
        """The Config at a row int32 [knobs]."""
        return Config(
            tuple((knob.name, knob.values[int(choice)]) for knob, choice in zip(self.knobs, row, strict=True))
        )

    def contains(self, config: Config) -> bool:
        """Whether every knob has a listed value and the static rules hold."""
        try:
            row = self.encode(config)
        except ConfigError:
            return False
        return bool(self.feasible(row[None, :])[0])
