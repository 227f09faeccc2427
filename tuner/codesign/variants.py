"""Variants of a target: numbers of its file, each with several values, and every combination of them.

l1_kib=256,512  cores=8..32    ->    256 and 8, 256 and 16, 256 and 32, 512 and 8, ...
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from tilewright.compiler_core.errors import TargetError, UsageError
from tilewright.compiler_core.target_model.file import parse_target, target_text
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.target_model.vary import varied

MOST_VARIANTS = 256
CORE = "core."
"""May stand before a key of the numbers that each core has: core.l1_kib is l1_kib."""


@dataclass(frozen=True)
class Variant:
    """A target that differs from the base in `changes`, by dotted key; `text` is its file."""

    changes: Mapping[str, str]
    target: Target
    text: str

    @property
    def label(self) -> str:
        """The changes in a line."""
        return ", ".join(f"{key}={value}" for key, value in self.changes.items()) or "as it is"


def variants_of(base: str, asked: Sequence[str]) -> tuple[Variant, ...]:
    """Every combination of `asked` ("KEY=A,B,C" or "KEY=LO..HI": doubled from LO on) on a preset or a file.

    UsageError for what is not of that form, TargetError where a key is no number of the file, or a variant
    is no target.
    """
    text = target_text(base)
    choices = dict(_choice(each) for each in asked)
    if len(choices) < len(asked):
        raise UsageError("--vary names a key twice; list all its values at once")
    combined = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    if len(combined) > MOST_VARIANTS:
        raise UsageError(f"--vary makes {len(combined)} variants; at most {MOST_VARIANTS} are tuned at once")
    return tuple(_variant(base, text, changes) for changes in combined)


def _choice(asked: str) -> tuple[str, list[str]]:
    key, equals, values = asked.partition("=")
    low, dots, high = values.partition("..")
    listed = [value.strip() for value in values.split(",")]
    if dots and low.isdigit() and high.isdigit() and 0 < int(low) <= int(high):
        listed = [str(int(low) << step) for step in range(64) if int(low) << step <= int(high)]
    elif dots or not equals or not key or not all(listed):
        raise UsageError(f"--vary {asked!r} is not KEY=A,B,C or KEY=LO..HI, as in --vary l1_kib=256,512")
    return key, list(dict.fromkeys(listed))


def _variant(base: str, text: str, changes: Mapping[str, str]) -> Variant:
    made = varied(text, {key.removeprefix(CORE): value for key, value in changes.items()})
    target, mistakes = parse_target(made)
    if target is None:
        said = ", ".join(f"{key}={value}" for key, value in changes.items())
        raise TargetError(f"{base} with {said} is no target: {mistakes[0]}")
    return Variant(changes, target, made)
