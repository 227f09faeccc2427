"""A compiler with an IR of its own asks the search database for the schedule of a kernel. No ONNX, no server.

    python examples/compiler_lookup.py tuning.db ascend910

Ship the answers of a tuning database with `tune db export --best -o best.db`; the file opens read-only.
"""

import sys

from tilewright.compiler_core.target_model.file import load_target
from tilewright.db.answering.ask import ask_many
from tilewright.db.answering.describe import ElementwiseStep, Operand, contraction, convolution, reduction
from tilewright.db.answering.lookup import Hit
from tilewright.db.storage.session import open_database

WEIGHT = "constant"

# What the compiler has in its hands: kernels, with the memory level of each operand.
KERNELS = {
    "conv 3x3 + bias + relu": convolution(
        Operand((1, 3, 16, 16)),
        Operand((8, 3, 3, 3), level=WEIGHT),
        pads=1,
        epilogue=(ElementwiseStep("add", Operand((8,), level=WEIGHT), along=(1,)), ElementwiseStep("relu")),
    ),
    "matmul + tanh": contraction(
        "mk,kn->mn", Operand((8, 32)), Operand((32, 16), level=WEIGHT), epilogue=[ElementwiseStep("tanh")]
    ),
    "row maximum": reduction("max", Operand((128, 512)), dims=[1]),
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
