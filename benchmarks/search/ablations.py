"""The search with one part taken out, to measure what the part is worth.

search = ablated("no_density", Search(problem))
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tilewright.compiler_core.errors import UsageError
from tilewright.cost_model.learned.ensemble import EnsembleSettings
from tilewright.tuner.kernel.problem import Problem
from tilewright.tuner.kernel.settings import SearchSettings


@dataclass(frozen=True)
class Search:
    """The sampler's parts, by name."""

    problem: Problem
    settings: SearchSettings = field(default_factory=SearchSettings)
    model: EnsembleSettings = field(default_factory=EnsembleSettings)


def _no_draft(search: Search) -> Search:
    return replace(search, problem=replace(search.problem, draft_log=None, features=None))


def _no_polish(search: Search) -> Search:
    return replace(
        search,
        settings=replace(search.settings, propose=replace(search.settings.propose, near_best=0)),
    )


def _no_density(search: Search) -> Search:
    return replace(
        search, settings=replace(search.settings, propose=replace(search.settings.propose, density=False))
    )


def _no_ensemble(search: Search) -> Search:
    return replace(search, model=replace(search.model, members=1))


def _no_process(search: Search) -> Search:
    return replace(search, model=replace(search.model, process_share=0.0))


def _draft_only(search: Search) -> Search:
    return replace(
        search,
        settings=replace(search.settings, propose=replace(search.settings.propose, warm_up=1 << 30)),
    )


ABLATIONS: Mapping[str, Callable[[Search], Search]] = {
    "no_draft": _no_draft,
    "no_polish": _no_polish,
    "no_density": _no_density,
    "no_ensemble": _no_ensemble,
    "no_process": _no_process,
    "draft_only": _draft_only,
}
"""By name. A prior is switched off by giving none."""


def ablated(name: str, search: Search) -> Search:
    """`search` without the part that `name` names; UsageError lists the names."""
    if name not in ABLATIONS:
        raise UsageError(f"ablation {name!r} is unknown; choose from {', '.join(ABLATIONS)}")
    return ABLATIONS[name](search)
