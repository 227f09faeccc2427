"""A Knob is a named, finite choice; a Config is one choice for every knob.

Searches work on *rows*: int32 arrays of value positions, one column a knob, so that a pool of thousands of
candidates is one matrix. A row becomes a Config only when it is measured or recorded.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import ConfigError

KnobValue: TypeAlias = bool | int | float | str
Rows: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Knob:
    """One choice: `values` in their natural order. `ordered`: neighbours in `values` are similar (tile
    sizes), so that a search may step between them; values of an unordered knob (a loop order) have no
    distance. `absent` is the value for Configs that were written before the knob existed.
    """

    name: str
    values: tuple[KnobValue, ...]
    ordered: bool = True
    absent: KnobValue | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError(f"knob {self.name!r} has no values; give it at least one")
        if len(set(map(_typed, self.values))) != len(self.values):
            raise ConfigError(f"knob {self.name!r} lists a value twice; list each once")

    @cached_property
    def position(self) -> dict[tuple[str, KnobValue], int]:
        """From a value (with its type, since True == 1) to its position in `values`."""
        return {_typed(value): index for index, value in enumerate(self.values)}


def _typed(value: KnobValue) -> tuple[str, KnobValue]:
    return type(value).__name__, value


@dataclass(frozen=True)
class Config:
    """A choice for every knob: a flat, ordered map from knob name to value."""

    items: tuple[tuple[str, KnobValue], ...]

    def __getitem__(self, name: str) -> KnobValue:
        for key, value in self.items:
            if key == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[tuple[str, KnobValue]]:
        return iter(self.items)

    @cached_property
    def digest(self) -> str:
        """Depends on names and values, not on their order."""
        return digest_of(dict(self.items))

    def to_json(self) -> str:
        """One JSON object, in knob order."""
        return json.dumps(dict(self.items), separators=(",", ":"), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "Config":
        """Inverse of `to_json`; ConfigError when it is not a flat object of plain values."""
        try:
            loaded: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"config is not JSON: {error}") from None
        if not isinstance(loaded, dict):
            raise ConfigError("config is not a JSON object of knob names and values")
        for name, value in loaded.items():
            if not isinstance(value, bool | int | float | str):
                raise ConfigError(f"knob {name!r} has a {type(value).__name__}; plain values only")
        return Config(tuple(loaded.items()))
