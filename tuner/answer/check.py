"""Does a Config compute the right numbers? Emulate its kernel on random data, compare with its meaning.

Data are small integers, where every order of evaluation is exact, so that exact ops must agree bit for bit;
kernels with transcendentals or divisions get a tolerance.
"""

from collections.abc import Mapping

import numpy as np

from tilewright.compiler_core.checking.emulate import emulate, run_kernel
from tilewright.compiler_core.checking.sampled import emulate_sample, sample_of
from tilewright.compiler_core.checking.verify import require_sound, verify_kernel
from tilewright.compiler_core.errors import ConfigError, VerifyError
from tilewright.compiler_core.ir.dtypes import TensorType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import Kernel
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import compile_graph
from tilewright.compiler_core.lowering.program import KernelCall, Program
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import CoreRange
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.target_model.target import Target
from tilewright.db.records import Verification
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.knobs import Config
from tilewright.tuner.network.session import Session

RELATIVE_TOLERANCE = 1e-4
"""Of the largest element of a value, for kernels that are not exact on integers."""
SMALL = 3


class KernelCheck:
    """The expected values of one kernel, made once, and the verdict on any of its Configs."""

    def __init__(self, regions: Regions, target: Target, seed: int) -> None:
        self._regions = regions
        self._target = target
        graph = regions.graph
        self._inputs = random_inputs(graph, seed)
        with np.errstate(all="ignore"):
            self._expected = interpret(graph, self._inputs)
        self._exact = all(op.row.exact for op in graph.ops) and _stays_exact(graph, self._inputs)

    def objection(self, config: Config) -> str:
        """Why `config` must not be published; empty when it breaks no rule and computes the right numbers."""
        graph = self._regions.graph
        try:
            tiling, cores = tiling_of(config, self._regions)
            program = lower_kernel(self._regions, tiling, cores, self._target)
        except ConfigError as error:
            return str(error)
        findings = verify_kernel(program, self._target)
        if findings:
            return f"rule {findings[0].rule!r}: {findings[0].what}"
        everything = range(len(graph.values))
        kernel = Kernel(self._regions.workload, tuple(everything), tuple(range(len(graph.ops))))
        memory = dict(self._inputs)
        try:
            with np.errstate(all="ignore"):
                run_kernel(graph, KernelCall(kernel, program, CoreRange(0, cores)), memory)
        except VerifyError as error:
            return str(error)
        for value in graph.outputs:
            if not self._agree(memory[value], self._expected[value]):
                return f"value {value} differs from what the kernel means"
        return ""

    def _agree(self, got: Array, expected: Array) -> bool:
        if self._exact:
            return np.array_equal(got, expected, equal_nan=got.dtype.kind == "f")
        return close(got, expected)


def _stays_exact(graph: Graph, inputs: Mapping[int, Array]) -> bool:
    """Whether every sum, in any order, is an integer its float holds: chains of contractions outgrow that."""
    floats = {value for value in range(len(graph.values)) if graph.values[value].dtype.is_float}
    if not floats:
        return True
    sizes = interpret(graph, {value: np.abs(array) for value, array in inputs.items()})
    return all(
        float(np.max(np.abs(sizes[value]), initial=0.0)) < 2.0 ** np.finfo(sizes[value].dtype).nmant
        for value in floats & set(sizes)
    )


def close(got: Array, expected: Array) -> bool:
    """Whether two values agree within RELATIVE_TOLERANCE of the largest finite element."""
    largest = float(np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected)))
    return np.allclose(got, expected, rtol=0.0, atol=RELATIVE_TOLERANCE * max(largest, 1.0), equal_nan=True)


def random_inputs(graph: Graph, seed: int) -> Mapping[int, Array]:
    """Small random integers for every input, in its dtype; indices stay inside what they index.

    Where an op rounds, what is not a factor of a contraction is a float between 0.5 and 1.5 instead: it may
    be a divisor or lie under a root, and one undefined element would leave a chain of ops nothing to compute.
    """
    rng = np.random.default_rng(seed)
    rounds = not all(op.row.exact for op in graph.ops)
    return {
        value: rng.uniform(0.5, 1.5, graph.shape(value)).astype(graph.values[value].dtype.numpy)
        if rounds and graph.values[value].dtype.is_float and not _is_factor(graph, value)
        else _random(graph, value, graph.values[value], rng)
        for value in graph.inputs
    }


def _is_factor(graph: Graph, value: int) -> bool:
    """Whether contractions only read a value."""
    return all(graph.ops[at].row.contraction for at in graph.readers.get(value, ()))


def _random(graph: Graph, value: int, kind: TensorType, rng: np.random.Generator) -> Array:
    shape = graph.shape(value)
    indexed = [
        graph.shape(access.value)[dim]
        for at in graph.readers.get(value, ())
        for access in graph.ops[at].operands
        for dim, expr in enumerate(access.exprs)
        if expr.source >= 0 and graph.ops[at].operands[expr.source].value == value
    ]
    if indexed:
        return rng.integers(0, max(1, min(indexed)), shape).astype(kind.dtype.numpy)
    low = 0 if kind.dtype.numpy.kind in "ub" else -SMALL
    return rng.integers(low, SMALL + 1, shape).astype(kind.dtype.numpy)


MOST_MACS = 2_000_000_000
"""Networks with more arithmetic than this are checked kernel by kernel only."""


def check_network(session: Session, config: Config) -> Verification:
    """Compile the network as `config` says, verify the Program, and emulate it on random data.

    Of networks of more than MOST_MACS every distinct tile shape of every kernel is run, and a few tiles more,
    on the values of the whole network. Raises VerifyError when a rule is broken or a value differs, which
    after the checks of the kernels would be a defect of ours.
    """
    target = session.target
    plan, schedule = session.schedule_of(config)
    program = compile_graph(plan.graph, schedule, target, plan)
    require_sound(plan.graph, program, target)
    inputs = random_inputs(session.graph, session.seed)
    with np.errstate(all="ignore"):
        expected = interpret(session.graph, inputs)
        if plan.graph is not session.graph:
            expected = {**interpret(plan.graph, inputs), **expected}
        return _compare(plan.graph, program, inputs, expected, session.seed)


def _compare(
    graph: Graph, program: Program, inputs: Mapping[int, Array], expected: Mapping[int, Array], seed: int
) -> Verification:
    if graph.macs > MOST_MACS:
        _, chosen = sample_of(program, seed)
        for box, wanted in emulate_sample(graph, expected, chosen):
            if not close(box.elements, wanted):
                raise VerifyError(
                    f"a tile of the tuned program computes another {graph.name_of(box.value)} than the model"
                )
        return Verification.SAMPLED
    got = emulate(graph, program, inputs)
    for value in graph.outputs:
        if value in got and not close(got[value], expected[value]):
            raise VerifyError(f"the tuned program computes another {graph.name_of(value)} than the model")
    return Verification.VALUE_EXACT
