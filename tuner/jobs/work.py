"""The work of a runner: `tune run` on the files of a job."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tilewright.tuner.answer.report import Report
from tilewright.tuner.jobs.runner import Answer, finite
from tilewright.tuner.request import LOCAL, Hooks, PoolChoice, TuneRequest


@dataclass(frozen=True)
class Tuning:
    """Tunes on `pool`; records in the database at `url`."""

    url: str
    pool: PoolChoice = LOCAL

    def run(self, request: TuneRequest, hooks: Hooks) -> Report:
        """The report of the run. Ray and the learners are loaded with the first job."""
        from tilewright.tuner.run import run

        return run(replace(request, database=self.url, pool=self.pool), hooks)

    def files(self, request: TuneRequest, answer: Answer) -> Mapping[str, bytes]:
        """The Program as the database serves it from now on, and what the service draws of it.

        Nothing for -O0, whose answer is the default schedule whatever the database knows.
        """
        from tilewright.compiler_core.lowering.program_json import program_to_json
        from tilewright.tuner.verbs.lookup import compile_known
        from tilewright.tuner.verbs.pictures import pictures_of

        if request.level == 0:
            return {}
        compiled = compile_known(
            request.model,
            request.target,
            objective=request.objective,  # of a front, what is best in the first is published
            dims=request.dims,
            database=self.url,
        )
        program = program_to_json(compiled.program, compiled.graph.names)
        pictures = pictures_of(compiled)
        compiled.session.book.repository.database.close()
        return {
            "program.json": json.dumps(program).encode(),
            "pictures.json": json.dumps(finite(pictures)).encode(),
        }
