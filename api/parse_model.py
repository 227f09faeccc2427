"""Run as a child process on a file somebody sent: `python -m api.parse_model FILE MEMORY_MB SECONDS`.

Reads the model within limits and without a network, and prints one line of JSON: what it is, or why not.
Whatever the file does to this process, the service only sees it end.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

from api.sandbox import forbid_network_and_programs


def confine(memory_mb: int, seconds: int) -> None:
    """Give up memory, time, written files, network and other programs, for good."""
    for kind, limit in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory_mb << 20),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    forbid_network_and_programs()


def main(path: Path, memory_mb: int, seconds: int) -> None:
    """Import the code first, give up every right next, touch the file last."""
    from compiler_core.errors import ModelError
    from compiler_core.onnx_import.importer import import_model

    confine(memory_mb, seconds)
    said: dict[str, Any]
    try:
        model = import_model(path)
        said = {"ops": len(model.graph.ops), "symbols": sorted(model.graph.symbols)}
    except ModelError as error:
        said = {"error": str(error).replace(repr(str(path)), "the model")}
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
