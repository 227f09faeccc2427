"""The entry for a compiler: the Config of a Workload on a Target, checked against the space of today.

    database = open_database("best.db", read_only=True)
    answer = ask(database, workload, load_target("ascend910"))
    if isinstance(answer, Hit):
        compile_with(answer.best.config)
    else:
        log(answer.reason)

Importing this module loads no tuning machinery.
"""

from collections.abc import Sequence

from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.toolchain import TOOLCHAIN, native_toolchain
from tilewright.db.answering.describe import row_of
from tilewright.db.answering.lookup import Answer, AnswerRequest, Hit, Match, lookup_many
from tilewright.db.demand.entries import Demandable
from tilewright.db.demand.logging import note_kernel
from tilewright.db.demand.recorder import Recorder, recorder_of_process
from tilewright.db.records import Best, WorkloadRow
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.space import Space
from tilewright.search_space.validity import kernel_space


def ask(
    database: Database,
    workload: Workload,
    target: Target,
    objective: Objective = Objective.LATENCY,
    *,
    other_placement: bool = False,
) -> Answer:
    """The answer for one kernel: see `ask_many`."""
    return ask_many(database, [workload], target, objective, other_placement=other_placement)[0]


def ask_many(
    database: Database,
    workloads: Sequence[Workload],
    target: Target,
    objective: Objective = Objective.LATENCY,
    *,
    other_placement: bool = False,
) -> list[Answer]:
    """One Hit or Miss a kernel, in order; a Hit's Config lies in the space that the kernel has today.

    With `other_placement` a record of the same kernel over operands elsewhere may answer, marked as such.
    """
    spaces: dict[str, Space] = {}

    def fits(row: WorkloadRow, best: Best) -> bool:
        if row.digest not in spaces:
            found = next(each for each in workloads if each.digest == row.digest)
            spaces[row.digest] = kernel_space(KnobLayout(Regions(found), target))
        return spaces[row.digest].contains(best.config)

    toolchain = native_toolchain() if target.identity else TOOLCHAIN
    request = AnswerRequest(target.digest, toolchain, objective, fits=fits, other_placement=other_placement)
    answers = lookup_many(Repository(database), [row_of(workload) for workload in workloads], request)
    recorder = recorder_of_process()
    if recorder is not None:
        for workload, answer in zip(workloads, answers, strict=True):
            _note(recorder, request, workload, answer, target)
    return answers


def _note(
    recorder: Recorder, request: AnswerRequest, workload: Workload, answer: Answer, target: Target
) -> None:
    """Log the demand for a kernel."""
    if isinstance(answer, Hit):
        note_kernel(recorder, answer.best.key, answer.best, answer.match is Match.EXACT)
        return
    note_kernel(recorder, answer.key, None)
    recorder.describe(
        workload.digest,
        lambda: Demandable(
            workload.graph.kernel_name(range(len(workload.graph.ops))),
            target.name,
            body=row_of(workload).body,
        ),
    )
