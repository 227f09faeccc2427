"""Schedules for where the chosen ones do not hold: some before the default is taken, others after it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, product
from math import inf

from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.chosen import CHECKED, Chosen
from tilewright.tuner.network.assignment import Assignment, Choice, assignment_of

FURTHER = 16
"""The most whole networks that are measured before the default is taken, and after it."""

Readings = Iterator[tuple[Config, list[Measurement]]]


def default_last(chosen: Chosen, candidates: Readings) -> Readings:
    """The candidates with their readings; before the default what is put together kernel by kernel, after all
    of them schedules that differ from the chosen ones in one kernel.
    """
    made, default = _read(chosen, _kernel_by_kernel(chosen)), chosen.searched.opened.default_config
    for config, readings in candidates:
        if config == default:
            yield from made
        yield config, readings
    yield from made
    yield from _read(chosen, _unmeasured(chosen))


def _read(chosen: Chosen, configs: Iterable[Config]) -> Readings:
    """Configs that the device can run, with fresh readings."""
    opened, book = chosen.searched.opened, chosen.searched.book
    for config in configs:
        (measured,) = book.measure_whole([config], opened.bound_us)
        if opened.objective.of(measured) is not None:
            yield config, book.pool.confirm(opened.network.task, config)


def _kernel_by_kernel(chosen: Chosen) -> Iterator[Config]:
    """Of each chosen plan that is WRONG on the device as a whole what holds of it, the best first."""
    book, value = chosen.searched.book, chosen.searched.opened.objective.of
    wrong = [each for each in chosen.assignments if _status(chosen, each) is Status.WRONG]
    put_together = (_put_together(chosen, each) for each in wrong)
    made = [each.config for each in put_together if each is not None]

    def number(config: Config) -> float:
        found = value(book.wholes[config])
        return inf if found is None else found

    yield from sorted(made, key=number)


def _put_together(chosen: Chosen, wanted: Assignment) -> Assignment | None:
    """A plan with the wanted choices that hold together; None where the defaults of its kernels do not.

    Starting from these one kernel after the other takes its wanted Config, those that take most of the time
    first, and keeps it where the device computes the whole right.
    """
    opened = chosen.searched.opened
    counts, choices = wanted.plan.counts, wanted.choices
    defaults = {task.digest: Choice(opened.default_of(task), inf, "default") for task in wanted.tasks}
    held = replace(wanted, choices={**choices, **defaults})
    if _status(chosen, held) is not Status.OK:
        return None
    for digest in sorted(counts, key=lambda each: -counts[each] * choices[each].latency_us)[:FURTHER]:
        tried = replace(held, choices={**held.choices, digest: choices[digest]})
        if _status(chosen, tried) is Status.OK:
            held = tried
    return held


def _status(chosen: Chosen, assignment: Assignment) -> Status:
    (measured,) = chosen.searched.book.measure_whole([assignment.config], chosen.searched.opened.bound_us)
    return measured.status


def _unmeasured(chosen: Chosen) -> Iterator[Config]:
    wholes = chosen.searched.book.wholes
    yield from islice((each for each in _variants(chosen) if each not in wholes), FURTHER)


def _variants(chosen: Chosen) -> Iterator[Config]:
    """The chosen plans with another of its best Configs for one kernel."""
    opened, search = chosen.searched.opened, chosen.searched.search
    assignments = chosen.assignments or (assignment_of(opened, opened.default_config, chosen.choices),)
    for place, assignment in product(range(CHECKED), assignments):
        for digest in assignment.plan.counts:
            for config, measured in search.ranked(digest)[place : place + 1]:
                if measured.latency_us is not None:
                    choice = Choice(config, measured.latency_us, "measured")
                    yield replace(assignment, choices={**assignment.choices, digest: choice}).config
