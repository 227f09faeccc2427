"""A compiler with an IR of its own asks the search database for the schedule of a kernel. No ONNX, no server.

    make tune                                                       # the quick start: ResNet-50 on ascend910
    python examples/compiler_lookup.py tilewright.db ascend910

Ship the answers of a tuning database with `tune db export --best -o best.db`; the file opens read-only.
"""

import sys

from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.target_model.file import load_target
from tilewright.db.answering.ask import ask_many
from tilewright.db.answering.describe import ElementwiseStep, Operand, convolution
from tilewright.db.answering.lookup import Hit
from tilewright.db.storage.session import open_database

WEIGHT = "constant"


def conv_bias_relu(channels: int, taps: int, filters: int = 512) -> Workload:
    """A convolution of the last stage of ResNet-50 with what follows it; its values live in the LLB."""
    bias = ElementwiseStep("add", Operand((filters,), level=WEIGHT), along=(1,))
    return convolution(
        Operand((1, channels, 7, 7), level="llb"),
        Operand((filters, channels, taps, taps), level=WEIGHT),
        pads=taps // 2,
        epilogue=(bias, ElementwiseStep("relu")),
        level="llb",
    )


# What the compiler has in its hands. Where values lay otherwise in memory when these kernels were tuned, the
# answer is that of another placement, and says so.
KERNELS = {
    "conv 1x1 + bias + relu": conv_bias_relu(2048, 1),
    "conv 3x3 + bias + relu": conv_bias_relu(512, 3),
}


def main(database_url: str, target_name: str) -> int:
    """Prints each kernel's Config, or why there is none; 3 on a miss, as `tune lookup` does."""
    database = open_database(database_url, read_only=True)
    answers = ask_many(database, list(KERNELS.values()), load_target(target_name), other_placement=True)
    for name, answer in zip(KERNELS, answers, strict=True):
        if isinstance(answer, Hit):
            best = answer.best
            print(f"{name}: {best.latency_us:.2f} us ({answer.match}), {dict(best.config.items)}")
        else:
            print(f"{name}: miss: {answer.reason}")
            if answer.nearest is not None:
                print(f"    the nearest record took {answer.nearest.guess_us:.2f} us; a guess, not an answer")
    database.close()
    return 0 if all(isinstance(answer, Hit) for answer in answers) else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
