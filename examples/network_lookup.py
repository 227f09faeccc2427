"""A compiler that reads ONNX asks for a whole network, and gets a Program to run. Nothing is measured.

python examples/network_lookup.py model.onnx ascend910 tuning.db
"""

import sys
from pathlib import Path

from tilewright.tuner.verbs.lookup import compile_known, lookup


def main(model: str, target: str, database: str) -> int:
    """Prints how each kernel is known (exact, other-placement or guessed) and the size of the Program."""
    for kernel in lookup(Path(model), target, database=database).kernels:
        print(f"{kernel.count} x {' + '.join(kernel.ops)}: {kernel.latency_us:.2f} us, {kernel.match}")
    compiled = compile_known(Path(model), target, database=database)
    print(f"Program of {len(compiled.program.stages)} stages, {compiled.program.llb_bytes} bytes of LLB")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
