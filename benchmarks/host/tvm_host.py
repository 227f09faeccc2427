"""Runs TVM's MetaSchedule on one kernel, in an environment of its own (`make tvm`).

Lines of JSON in, a line out for each. First an ONNX file, to be tuned for so many seconds of processor time,
children included, on one core; `ran` counts the candidates that its own runner could time, without which it
has no answer, and what it builds is no schedule of its own:

    {"model": "kernel.onnx", "budget_s": 60.0, "cpu": "znver4", "seed": 0}
    -> {"trials": 96, "ran": 93, "spent_s": 61.2}

then any number of times the CPU time of one run of what it found:

    {"time": true}   ->   {"us": 103.1}

It imports nothing of this project: benchmarks/host/metaschedule.py is the other end.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TVM_NUM_THREADS", "1")
TRIALS_AT_ONCE = 16
MOST_TRIALS = 4096
ROUND_S = 0.006
PATIENCE_S = 1200.0
"""For a candidate, by the wall clock; the 30 s of its own end on a busy machine while processes import."""
DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
FAILED_S = 1e9
"""What a record of a candidate that could not be built or run says it takes."""


class EnoughError(Exception):
    """The budget is spent."""


def spent_s() -> float:
    """Processor time of this process, its children, and those of them that still run."""
    import psutil

    mine = psutil.Process()
    there = [mine, *mine.children(recursive=True)]
    total = 0.0
    for process in there:
        try:
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        except psutil.NoSuchProcess:
            continue
    return total


def tuned(asked: dict[str, Any]) -> tuple[Callable[[], Any], dict[str, Any]]:
    """A function that runs the best that was found, and what was spent."""
    import numpy as np
    import onnx
    import tvm
    from tvm import relax
    from tvm.ir.utils import derived_object
    from tvm.relax.frontend.onnx import from_onnx
    from tvm.s_tir import meta_schedule as ms

    before = spent_s()
    importlib.import_module("tvm.s_tir.tensor_intrin")
    # Half a minute of parsing for GPUs is no tuning; the process that builds does it once more.
    importing_s = spent_s() - before
    target = tvm.target.Target({"kind": "llvm", "mcpu": asked["cpu"], "num-cores": 1})
    model = onnx.load(asked["model"])
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    module = from_onnx(model)
    passes = [relax.transform.LegalizeOps(), relax.transform.AnnotateTIROpPattern()]
    passes += [relax.transform.FoldConstant(), relax.transform.FuseOps(), relax.transform.FuseTIR()]
    with target:
        module = tvm.transform.Sequential(passes)(module)
    start = spent_s() + importing_s
    trials, enough = 0, False

    @derived_object
    class Clock(ms.measure_callback.PyMeasureCallback):  # type: ignore[misc]
        def apply(self, scheduler: Any, task: int, candidates: Any, built: Any, ran: Any) -> None:
            nonlocal trials, enough
            trials += len(candidates)
            enough = spent_s() - start > asked["budget_s"]
            if enough:
                raise EnoughError

    with tempfile.TemporaryDirectory() as folder:
        database = ms.database.JSONDatabase(work_dir=folder)
        callbacks = [ms.measure_callback.AddToDatabase(), ms.measure_callback.UpdateCostModel(), Clock()]
        try:
            ms.relax_integration.tune_relax(
                module,
                {},
                target,
                folder,
                MOST_TRIALS,
                num_trials_per_iter=TRIALS_AT_ONCE,
                builder=ms.builder.LocalBuilder(max_workers=1, timeout_sec=PATIENCE_S),
                runner=ms.runner.LocalRunner(timeout_sec=PATIENCE_S),
                database=database,
                measure_callbacks=callbacks,
                seed=asked["seed"] + 1,
            )
        except Exception:
            if not enough:  # by way of C++ it comes back as another error
                raise
        spent = spent_s() - start
        records = database.get_all_tuning_records()
        ran = sum(all(float(each) < FAILED_S for each in record.run_secs or [FAILED_S]) for record in records)
        built = ms.relax_integration.compile_relax(database, module, target, {})
    machine = relax.VirtualMachine(built, tvm.cpu())
    given = tvm.runtime.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    main = machine["main"]
    return lambda: main(given), {"trials": trials, "ran": ran, "spent_s": round(spent, 1)}


def timed_us(work: Callable[[], Any]) -> float:
    """CPU time of one run."""
    work()
    start = time.thread_time()
    work()
    times = max(1, int(ROUND_S / max(time.thread_time() - start, 1e-7)))
    start = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - start) / times * 1e6


def main() -> None:
    """Answer until standard input ends."""
    if sys.platform == "linux":  # tuning takes no notice of a closed pipe
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w")
    # Whatever the package prints is no answer.
    os.dup2(2, 1)
    work: Callable[[], Any] = lambda: None  # noqa: E731
    for line in sys.stdin:
        asked = json.loads(line)
        if "model" in asked:
            work, answer = tuned(asked)
        else:
            answer = {"us": timed_us(work)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
