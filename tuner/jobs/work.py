"""The work of a runner: `tune run` on the files of a job."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.tuner.answer.report import Report
from tilewright.tuner.jobs.runner import Answer, Assignment, finite


@dataclass(frozen=True)
class Tuning:
    """Tunes on `workers` local workers, or on the Ray cluster at `ray`; records in the database at `url`."""

    url: str
    workers: int = 2
    ray: str = "local"

    def run(self, assignment: Assignment) -> Report:
        """The report of the run. Ray and the learners are loaded with the first job."""
        from tilewright.tuner.run import run

        request = assignment.request
        return run(
            assignment.model,
            assignment.target,
            level=request.level,
            trials=request.trials,
            time_limit_s=request.time_limit_s,
            objective=request.objective,
            dims=request.dims,
            seed=request.seed,
            database=self.url,
            workers=self.workers,
            ray=self.ray,
            on_event=assignment.on_event,
            guard=assignment.guard,
            job=assignment.job,
            cancelled=assignment.cancelled,
        )

    def files(self, assignment: Assignment, answer: Answer) -> Mapping[str, bytes]:
        """The Program as the database serves it from now on, and what the service draws of it.

        Nothing for -O0, whose answer is the default schedule whatever the database knows.
        """
        from tilewright.compiler_core.lowering.program_json import program_to_json
        from tilewright.tuner.verbs.lookup import compile_known
        from tilewright.tuner.verbs.pictures import pictures_of

        request = assignment.request
        if request.level == 0:
            return {}
        compiled = compile_known(
            assignment.model,
            assignment.target,
            objective=request.objective.partition(",")[
                0
            ],  # of a front, what is best in the first is published
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
