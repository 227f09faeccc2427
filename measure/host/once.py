"""Runs a library once in a process of its own: a crash of what was just built ends nothing else.

    python -m tilewright.measure.host.once FOLDER INPUTS.npz OUTPUTS.npz THREADS

Inputs and outputs are arrays i0, i1, ... and o0, o1, ... in the order of the manifest.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tilewright.runtime import LibraryError, load


def main(folder: str, given: str, made: str, threads: str) -> int:
    """Write the outputs; exit code 2 with one line where the library is refused."""
    try:
        library = load(Path(folder), int(threads))
        with np.load(given) as file:
            named = {each.name: file[f"i{at}"] for at, each in enumerate(library.inputs)}
        outputs = library.run(named)
    except LibraryError as error:
        print(error, file=sys.stderr)
        return 2
    arrays: dict[str, Any] = {f"o{at}": outputs[each.name] for at, each in enumerate(library.outputs)}
    np.savez(made, **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
