"""The end of a run: measure the whole network, check it, confirm it, publish the best of it."""

from collections.abc import Iterator
from functools import partial
from math import inf
from typing import Any, TypeAlias

from tilewright.compiler_core.errors import DeviceError, VerifyError
from tilewright.db.records import Best, Verification
from tilewright.measure.objectives import values_of
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.check import NetworkCheck, sound
from tilewright.tuner.answer.chosen import FINALISTS, Chosen
from tilewright.tuner.answer.finalists import freshly_read, in_order, median_of
from tilewright.tuner.answer.front import front_of_run
from tilewright.tuner.answer.guess import simulated_default
from tilewright.tuner.answer.outcome import Outcome
from tilewright.tuner.answer.report import Figures
from tilewright.tuner.answer.substitutes import default_last
from tilewright.tuner.kernel.stopping import StopReason
from tilewright.tuner.network.assignment import assignment_of
from tilewright.tuner.network.opened import Opened

Values: TypeAlias = dict[Config, tuple[float, Any]]
"""The number of every Config that was measured whole, with a key that breaks ties."""


def conclude_network(chosen: Chosen) -> Outcome:
    """Measure whole networks, and publish the best. The default, the plans as tuned, the known best and those
    measured on the way are among them, so an answer never regresses. A plan that is WRONG as a whole is put
    together kernel by kernel before the default is taken. DeviceError where nothing could be
    measured, VerifyError where nothing computes the right numbers, the default included.
    """
    opened, book = chosen.searched.opened, chosen.searched.book
    default, value = opened.default_config, opened.objective.of
    values, of_default = _measured(chosen)
    check, candidates = NetworkCheck(opened), _readings(chosen, values)
    _, readings = next(candidates)
    bar, recorded, refused = median_of(readings, value), False, ""
    for config, confirmations in default_last(chosen, candidates):
        if (median := median_of(confirmations, value)) > bar or median == inf:
            continue
        verification = sound(book, check, config)
        if verification is None:
            continue
        if config != default and not recorded:
            book.publish_network(default, readings, Verification.NONE, default=True)
            recorded = True
        best = book.publish_network(config, confirmations, verification, default=config == default)
        if best is not None:
            return _outcome(chosen, best)
        refused = book.why_not_published(config)
    if refused:
        raise VerifyError(
            f"no schedule of {opened.model.name} may be published, nor its default: by the records {refused}"
        )
    if not values or not book.dropped:
        why = of_default.reason or f"the device does not report the {opened.objective}"
        raise DeviceError(f"no schedule of {opened.model.name} could be measured, nor its default: {why}")
    raise VerifyError(
        f"no schedule of {opened.model.name} computes what the model says, nor its default:"
        f" {book.dropped[-1].reason}; all trials are recorded"
    )


def _readings(chosen: Chosen, values: Values) -> Iterator[tuple[Config, list[Measurement]]]:
    """Fresh readings of whole networks: of the default, then of the Configs in their order, the default among
    them.
    """
    opened, pool = chosen.searched.opened, chosen.searched.book.pool
    default, value = opened.default_config, opened.objective.of
    confirm = partial(pool.confirm, opened.network.task)
    if pool.info().deterministic:
        yield default, (readings := confirm(default))
        yield from in_order(values, confirm, value, {default: readings})
        return
    ranked = sorted(values, key=lambda config: (*values[config], config.digest))
    fresh = freshly_read(ranked, default, confirm, value, FINALISTS)
    yield (of_default := next(fresh))
    yield from fresh
    yield of_default


def _measured(chosen: Chosen) -> tuple[Values, Measurement]:
    """The number of every Config of the whole network, with a key that breaks ties; and the default's
    measurement. Ties go to the better one in a front's other objectives, then the faster, then a checked one.
    """
    opened, book = chosen.searched.opened, chosen.searched.book
    known = opened.records.known_network()
    configs = [opened.default_config, *(each.config for each in chosen.assignments)]
    if known is not None:
        configs.append(known.config)
    of_default, *_ = book.measure_whole(configs, opened.bound_us)
    if of_default.status is not Status.OK:
        book.drop("the default schedule of the network", of_default.reason)
    for config in configs[1:]:
        if book.wholes[config].status is Status.WRONG:
            book.drop(f"schedule {config.digest[:12]} of the network", book.wholes[config].reason)
    return {
        config: (
            number,
            (values_of(measured, opened.objectives) or (), measured.latency_us, config not in configs),
        )
        for config, measured in book.wholes.items()
        if (number := opened.objective.of(measured)) is not None
    }, of_default


def _outcome(chosen: Chosen, best: Best) -> Outcome:
    searched = chosen.searched
    opened, search = searched.opened, searched.search
    default, tuned = _figures(opened, best)
    return Outcome(
        assignment_of(opened, best.config, chosen.choices, chosen.beside, search.readings_us),
        default,
        tuned,
        str(best.verification),
        searched.reason,
        spent=search.spent,
        regret=searched.regret,
        dropped=searched.book.dropped,
        front=front_of_run(opened, searched.book.uid) if opened.objectives else (),
    )


def recall_network(opened: Opened) -> Outcome | None:
    """The database's answer for the whole network, or None where it has none."""
    best = opened.records.known_network()
    if best is None:
        return None
    default, tuned = _figures(opened, best)
    assignment = assignment_of(opened, best.config)
    return Outcome(assignment, default, tuned, str(best.verification), StopReason.DATABASE)


def _figures(opened: Opened, best: Best) -> tuple[Figures, Figures]:
    """Where the default does not hold, the answer has nothing to be compared with but itself."""
    default = opened.records.default_network()
    if default is None and opened.records.layers is not None and not opened.target.identity:
        simulated = simulated_default(opened)
        if simulated is not None:
            return simulated, Figures.of_best(best)
    return Figures.of_best(default or best), Figures.of_best(best)
