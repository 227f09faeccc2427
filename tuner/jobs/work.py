"""The work of a runner: `tune run` on the files of a job."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.target_model.file import load_target
from tilewright.tuner.jobs.request import name_of
from tilewright.tuner.jobs.runner import WorkResult, finite
from tilewright.tuner.request import LOCAL, Hooks, PoolChoice, TuneRequest


@dataclass(frozen=True)
class Tuning:
    """Tunes on `pool`, on this CPU only where it is `offered`; records in the database at `url`."""

    url: str
    pool: PoolChoice = LOCAL
    offered: str = ""

    def run(self, request: TuneRequest, hooks: Hooks) -> WorkResult:
        """The report of the run, or of the range. Ray and the learners are loaded with the first job."""
        from tilewright.tuner.verbs.ranges import run_sizes

        target = load_target(request.target)
        if target.identity and name_of(target) != self.offered:
            raise UsageError("this runner measures nothing on its CPU; tune runner --host does")
        return run_sizes(replace(request, database=self.url, pool=self.pool), hooks)

    def files(self, request: TuneRequest, answer: WorkResult) -> Mapping[str, bytes]:
        """The published Program, and the pictures of it for the service.

        Of a range the Program of the largest size. Nothing for -O0, whose answer is always the default
        schedule.
        """
        from tilewright.compiler_core.lowering.formats.program_json import program_to_json
        from tilewright.tuner.verbs.lookup import compile_known
        from tilewright.tuner.verbs.pictures import pictures_of
        from tilewright.tuner.verbs.provenance import provenance_of

        if request.level == 0:
            return {}
        compiled = compile_known(
            request.model,
            request.target,
            objective=request.objective,  # of a front, what is best in the first is published
            dims={**request.dims, **_largest(request)},
            inputs=request.inputs,
            database=self.url,
        )
        program = program_to_json(compiled.program, compiled.graph.names, provenance_of(compiled))
        pictures = pictures_of(compiled)
        compiled.close()
        return {
            "program.json": json.dumps(program).encode(),
            "pictures.json": json.dumps(finite(pictures)).encode(),
        }


def _largest(request: TuneRequest) -> Mapping[str, int]:
    """The largest size of a range that the network can have, by its dim."""
    from tilewright.compiler_core.onnx_import.sizes import sizes_in_range

    return {
        symbol: sizes_in_range(request.model, request.dims, symbol, low, high, inputs=request.inputs)[-1]
        for symbol, (low, high) in request.ranges.items()
    }
