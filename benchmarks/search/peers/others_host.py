"""Runs SMAC3 and pyATF on a recorded table, in an environment of their own (`make search-peers`).

A line of JSON in, a line out, as kernel_tuner_host.py has it: first the table, then any number of searches,
each answered by the configurations it evaluated, in order, each once. It imports nothing of this project.
pyATF is given the space of the table's rows; SMAC3 knows of no such rules, so that what is not in the table
costs it as much as the slowest row, and no trial.
"""

import contextlib
import inspect
import json
import logging
import os
import random
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

# What a search may ask again, or for nothing, for each trial of its budget.
PATIENCE = 20


class BudgetSpentError(Exception):
    """The budget is spent."""


class KnownRows:
    """Latencies by configuration; `found` are the ones asked for, each once."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.knobs: dict[str, list[Any]] = table["knobs"]
        self.known = {tuple(row[:-1]): row[-1] for row in table["rows"]}
        self.plain = {row: row for row in self.known}  # SMAC3 answers in numbers of numpy
        self.worst = max(value for value in self.known.values() if value is not None)
        self.found: dict[tuple[Any, ...], None] = {}
        self.asked = 0

    def start(self) -> None:
        """Forget what was asked."""
        self.found, self.asked = {}, 0

    def ask(self, row: tuple[Any, ...], budget: int) -> float | None:
        """The latency, None where it fails; BudgetSpentError when the budget is spent."""
        self.asked += 1
        if len(self.found) >= budget or self.asked > PATIENCE * budget:
            raise BudgetSpentError
        if row in self.known:
            self.found.setdefault(self.plain[row])
        return self.known.get(row)


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the packages print is no answer
    logging.disable(logging.CRITICAL)
    table = KnownRows(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        asked = json.loads(line)
        table.start()
        random.seed(asked["seed"])
        np.random.seed(asked["seed"])  # noqa: NPY002  (pyATF draws from it)
        with contextlib.suppress(BudgetSpentError):
            SEARCHES[asked["strategy"]](table, asked["seed"], asked["budget"])
        answers.write(json.dumps(list(table.found)) + "\n")
        answers.flush()


def beginning(table: KnownRows, names: list[str]) -> Callable[..., bool]:
    """Whether rows of the table begin with the values; the signature tells pyATF which knobs these are of."""
    begun = {row[: len(names)] for row in table.known}

    def rule(**values: Any) -> bool:
        return tuple(values[name] for name in names) in begun

    named = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    rule.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    return rule


def pyatf(table: KnownRows, seed: int, budget: int) -> None:
    """Its default technique, the AUC bandit, over the rows of the table."""
    from pyatf import TP, Set, Tuner
    from pyatf.abort_conditions import Evaluations
    from pyatf.tuning_data import CostFunctionError

    names = list(table.knobs)
    parameters = []
    for at, name in enumerate(names):
        parameters.append(TP(name, Set(*table.knobs[name]), beginning(table, names[: at + 1])))

    def cost(configuration: Any) -> float:
        value = table.ask(tuple(configuration[name] for name in names), budget)
        if value is None:
            raise CostFunctionError("failed")
        return value

    Tuner().verbosity(0).tuning_parameters(*parameters).tune(cost, Evaluations(PATIENCE * budget))


def smac(table: KnownRows, seed: int, budget: int) -> None:
    """Its facade for black boxes, a random forest with expected improvement over log costs."""
    from ConfigSpace import Categorical, ConfigurationSpace
    from smac import HyperparameterOptimizationFacade, Scenario

    names = list(table.knobs)
    space = ConfigurationSpace(seed=seed)
    space.add([Categorical(name, table.knobs[name], ordered=True) for name in names])

    def cost(configuration: Any, seed: int = 0) -> float:
        value = table.ask(tuple(configuration[name] for name in names), budget)
        return table.worst if value is None else value

    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space, output_directory=folder, deterministic=True, n_trials=PATIENCE * budget, seed=seed
        )
        facade = HyperparameterOptimizationFacade(scenario, cost, overwrite=True, logging_level=False)
        # `optimize` takes an exception for a crash of the configuration: ask and tell do not.
        from smac.runhistory.dataclasses import TrialValue

        while True:
            asked = facade.ask()
            facade.tell(asked, TrialValue(cost=cost(dict(asked.config))))


SEARCHES = {"pyatf": pyatf, "smac": smac}


if __name__ == "__main__":
    main()
