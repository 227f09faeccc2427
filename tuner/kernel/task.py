"""The kernels of a plan as search tasks: each distinct workload once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Level, Workload
from tilewright.compiler_core.lowering.pipeline import Plan
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.tile import default_tiling
from tilewright.compiler_core.target_model.target import Target
from tilewright.cost_model.analytic import KernelModel
from tilewright.cost_model.energy import KernelEnergy, product_log
from tilewright.cost_model.kernel_features import kernel_features
from tilewright.measure.objectives import Objective
from tilewright.search_space.codec import config_of
from tilewright.search_space.knobs import Config, Rows
from tilewright.search_space.moves import corners
from tilewright.search_space.rules import KnobLayout, cores_with_work
from tilewright.search_space.space import Space
from tilewright.search_space.validity import kernel_space
from tilewright.tuner.kernel.problem import Problem, Promise


@dataclass(frozen=True, eq=False)
class KernelTask:
    """One distinct kernel: its workload, its space of Configs, and its nominal model.

    `kin` is a task of the same kernel with its operands in other places; parts that do not depend on the
    places are shared with it (`kinship` is equal for tasks that may be kin).
    """

    regions: Regions
    target: Target
    kin: "KernelTask | None" = None

    @staticmethod
    def kinship(workload: Workload) -> tuple[str, tuple[bool, ...]]:
        """Tasks of equal kinship on one target have the same Configs: constants may pass L1 by."""
        return workload.family_digest, tuple(level is Level.CONSTANT for level in workload.levels)

    @property
    def workload(self) -> Workload:
        """The workload that a device measures."""
        return self.regions.workload

    @property
    def digest(self) -> str:
        """The workload's digest."""
        return self.workload.digest

    @cached_property
    def layout(self) -> KnobLayout:
        """Its knobs."""
        return self.kin.layout if self.kin else KnobLayout(self.regions, self.target)

    @cached_property
    def space(self) -> Space:
        """Its Configs."""
        return self.kin.space if self.kin else kernel_space(self.layout)

    @cached_property
    def model(self) -> KernelModel:
        """Its bound and draft."""
        return KernelModel(self.layout, self.workload)

    @property
    def described(self) -> str:
        """The kernel for people: its ops, what its root makes, its digest."""
        graph = self.regions.graph
        made = graph.values[graph.ops[-1].result]
        return f"kernel {self.digest[:16]} ({self.ops_text}, which makes {made})"

    @property
    def ops_text(self) -> str:
        """Its ops, where the model's names for them are not at hand."""
        return self.regions.graph.kernel_name(range(len(self.regions.graph.ops)))

    @property
    def default(self) -> Config:
        """The -O0 Config; ConfigError where the default rule finds nothing that fits."""
        if self.ruled is None:
            raise ConfigError(f"no default tile of {self.described} fits {self.target.name}")
        return self.ruled

    @cached_property
    def ruled(self) -> Config | None:
        """The Config of the default rule, if it finds one that fits."""
        if self.kin:
            return self.kin.ruled
        try:
            tiling = default_tiling(self.regions, self.target, self.layout.widths)
        except ConfigError:
            return None
        tiles = 1
        for loop, size in zip(self.regions.loops, tiling.tile, strict=False):
            tiles *= -(-loop.extent // size) if loop.kind is AxisKind.PARALLEL else 1
        return config_of(tiling, cores_with_work(tiles, self.target.cores), self.space, self.layout)

    @cached_property
    def bound_us(self) -> float:
        """A latency nothing beats."""
        return self.model.least.bound_cycles(self.target) / self.target.cycles_per_us

    def problem(self, known: tuple[Config, ...] = (), beaten: Sequence[Config] = ()) -> Problem:
        """The search problem; `known` Configs of other runs come first, those `beaten` by them never, and a
        climb begins at the default.
        """
        return Problem(
            task=self.workload,
            space=self.space,
            features=kernel_features(self.model),
            draft_log=self.model.draft_log,
            bound_log=self.model.bound_log,
            seeds=self._rows([config for config in dict.fromkeys(known) if self.space.contains(config)]),
            beaten=self._rows([config for config in dict.fromkeys(beaten) if self.space.contains(config)]),
            start=self.start,
            others=self._promises(),
        )

    def _promises(self) -> Mapping[Objective, Promise]:
        """Drafts and bounds of the objectives besides latency, from the target file."""
        energy, model = KernelEnergy(self.model), self.model
        return {
            Objective.ENERGY: Promise(energy.draft_log, energy.bound_log),
            Objective.EDP: Promise(
                product_log(energy.draft_log, model.draft_log), product_log(energy.bound_log, model.bound_log)
            ),
        }

    @cached_property
    def start(self) -> Rows:
        """The start of a climb over the draft: the default; without one, whole or least extents that fit.

        Random draws find hardly any Config of a kernel that is too large for the default rule.
        """
        if self.kin:
            return self.kin.start
        if self.ruled is None:
            return corners(self.space, [knob.name for knob in self.space.knobs if "tile_" in knob.name])
        return self._rows([self.ruled])

    def _rows(self, configs: Sequence[Config]) -> Rows:
        rows = [self.space.encode(config) for config in configs]
        return np.array(rows, dtype=np.int32).reshape(-1, len(self.space.knobs))


@dataclass(frozen=True)
class Recalled:
    """What is known of a kernel: the best Config of records with its latency, Configs measured as no better,
    and Configs that a user wants tried.
    """

    config: Config | None = None
    latency_us: float | None = None
    beaten: tuple[Config, ...] = ()
    tries: tuple[Config, ...] = ()

    @property
    def first(self) -> tuple[Config, ...]:
        """The Configs to measure before all others."""
        return self.tries if self.config is None else (self.config, *self.tries)


def kernel_tasks(plan: Plan, target: Target) -> tuple[KernelTask, ...]:
    """A task per distinct workload of the plan, in order of first use."""
    return tuple(KernelTask(plan.regions[digest], target) for digest in plan.counts)
