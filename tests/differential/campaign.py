"""Many random models of every operator against onnxruntime.

    python -m tests.differential.campaign --cases 1000 --seed 7 [NAME ...]

prints a row an operator: cases, those that onnxruntime refuses, differences; then every model that differs.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.differential.case import Family, drawn
from tests.differential.families import FAMILIES
from tests.differential.judge import RefusedError, objection
from tilewright.compiler_core.errors import ModelError


@dataclass(frozen=True)
class Outcome:
    """What came of a family: counts, and for every difference its number and what differs."""

    cases: int
    refused: tuple[tuple[int, str], ...]
    differences: tuple[tuple[int, str], ...]


def outcome_of(name: str, family: Family, seed: int, numbers: Sequence[int]) -> Outcome:
    """Judge the cases of these numbers."""
    refused, differences = [], []
    for number in numbers:
        case = drawn(family, name, seed, number)
        try:
            found = objection(case)
        except RefusedError as error:
            refused.append((number, str(error)))
            continue
        except ModelError as error:
            found = f"not imported: {error}"
        if found:
            differences.append((number, found))
    return Outcome(len(numbers), tuple(refused), tuple(differences))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; 1 where anything differs."""
    parser = argparse.ArgumentParser(description="random models of one operator against onnxruntime")
    parser.add_argument("--cases", type=int, default=200, help="models an operator")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--show", type=int, default=1, help="models to print an operator")
    parser.add_argument("names", nargs="*", help="operators; all where none is given")
    given = parser.parse_args(arguments)
    bad = 0
    for name in given.names or FAMILIES:
        numbers = range(given.first, given.first + given.cases)
        outcome = outcome_of(name, FAMILIES[name], given.seed, numbers)
        bad += len(outcome.differences)
        print(
            f"{name:36} {outcome.cases:6} cases {len(outcome.refused):5} refused"
            f" {len(outcome.differences):5} differ",
            flush=True,
        )
        for number, reason in outcome.refused[: given.show]:
            print(f"  refused case {number}: {reason}")
        for number, found in outcome.differences[: given.show]:
            print(f"  seed {given.seed} case {number}: {found}")
            print(drawn(FAMILIES[name], name, given.seed, number))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
