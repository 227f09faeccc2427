"""Coverage-guided fuzzing of every parser: `make fuzz`, or `python -m tests.robust.fuzz KIND [OPTIONS]`.

Kinds are models, targets, specs, t1, t4 and records; options are libFuzzer's. A finding is whatever is no
error on purpose, takes above 2 s of the processor, or above 1 GB; libFuzzer writes the input that shows it.
Inputs that reach new code are kept in the folder that is given. Needs atheris, which `make fuzz` installs
beside the project.
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # not among the packages of the project
import onnx

from tests.robust.mutations import mutated

SPACE = {
    "ConfigurationSpace": {
        "TuningParameters": [{"Name": "a", "Type": "int", "Values": "[1, 2, 4]", "Default": 1}],
        "Conditions": [{"Expression": "a > 1", "Parameters": ["a"]}],
    }
}
RESULT = {"configuration": {"a": 2}, "times": {"runtimes": [1.0]}, "invalidity": "correct"}
RESULTS = {"metadata": {"timeunit": "milliseconds"}, "results": [RESULT]}
SPEC = {"target": "ascend910", "level": 2, "dims": {"batch": {"low": 1, "high": 8}}, "inputs": {"x": [[1]]}}
ONNX = Path(onnx.__file__).parent / "backend" / "test" / "data"
"""Models of one operator each, and some of a few, that come with the onnx package."""
MOST_SEED = 16384
LIMITS = ("-timeout=60", "-rss_limit_mb=1024", "-max_len=65536")
"""libFuzzer's own; its time is the clock's, which means little on a busy machine."""
MOST_S = 2.0
"""Of the processor, for one input."""
CODE = {
    "models": "compiler_core.onnx_import",
    "targets": "compiler_core.target_model",
    "specs": "api.schemas.jobs",
    "t1": "search_space.t1",
    "t4": "db.exchange",
    "records": "db.exchange",
}
"""Whose branches guide the search."""


def models(data: bytes, path: Path) -> None:
    from tilewright.compiler_core.onnx_import.importer import import_model

    path.write_bytes(data)
    import_model(path, {}, {})


def targets(data: bytes, path: Path) -> None:
    from tilewright.compiler_core.target_model.file import parse_target

    parse_target(data.decode("utf-8", "surrogateescape"))


def specs(data: bytes, path: Path) -> None:
    from pydantic import ValidationError

    from tilewright.api.schemas.jobs import JobSpec
    from tilewright.tuner.jobs.request import read_request, request_to_json

    with suppress(ValidationError):
        request = JobSpec.model_validate_json(data).request("model")
        assert read_request(request_to_json(request)) == request


def t1(data: bytes, path: Path) -> None:
    from tilewright.search_space.t1 import load_t1

    path.write_bytes(data)
    load_t1(path)


def t4(data: bytes, path: Path) -> None:
    from tilewright.db.exchange.t4 import read_trials
    from tilewright.search_space.t1 import space_from_t1

    read_trials(data, "file", "run", space_from_t1(SPACE))


def records(data: bytes, path: Path) -> None:
    from tilewright.db.exchange.lines import read_lines

    path.write_bytes(data)
    for _ in read_lines(path):
        pass


KINDS: dict[str, Callable[[bytes, Path], None]] = {
    each.__name__: each for each in (models, targets, specs, t1, t4, records)
}


def seeds(kind: str, folder: Path) -> Sequence[bytes]:
    """Where to begin: something good of each kind."""
    if kind == "models":
        return [path.read_bytes() for path in sorted(ONNX.rglob("*.onnx")) if path.stat().st_size < MOST_SEED]
    if kind == "targets":
        from tilewright.compiler_core.target_model.file import list_targets, target_text

        return [target_text(name).encode() for name in list_targets()]
    if kind == "records":
        return [_exported(folder)]
    return [json.dumps({"specs": SPEC, "t1": SPACE, "t4": RESULTS}[kind]).encode()]


def _exported(folder: Path) -> bytes:
    from tests.db.samples import filled, workload
    from tilewright.db.exchange.export import export_records
    from tilewright.db.repository import Repository
    from tilewright.db.storage.session import open_database

    database = open_database(folder / "tuning.db")
    filled(Repository(database), [workload()])
    export_records(database, folder / "records.jsonl")
    database.close()
    return (folder / "records.jsonl").read_bytes()


def changed(data: bytes, most: int, seed: int) -> bytes:
    """A model with other nodes, attributes, shapes; or, now and then, with other bytes."""
    chance = random.Random(seed)
    made = mutated(data, chance) if chance.random() < 0.8 else bytes(atheris.Mutate(data, len(data)))
    return made if len(made) <= most else data


def main(kind: str, options: Sequence[str]) -> None:
    """Fuzzes until libFuzzer ends, which it does by leaving the process."""
    folder = Path(tempfile.mkdtemp(prefix="tilewright-fuzz-"))
    path, parse = folder / "input", KINDS[kind]
    with atheris.instrument_imports(include=[f"tilewright.{CODE[kind]}"]):
        from tilewright.compiler_core.errors import InputError

        with suppress(InputError):
            parse(b"", path)  # loads the parser
    (folder / "seeds").mkdir()
    for number, seed in enumerate(seeds(kind, folder)):
        (folder / "seeds" / str(number)).write_bytes(seed)

    def once(data: bytes) -> None:
        start = time.process_time()
        with suppress(InputError):
            parse(data, path)
        took_s = time.process_time() - start
        assert took_s < MOST_S, f"{took_s:.1f} s for {len(data)} bytes"

    more = {"custom_mutator": changed} if kind == "models" else {}
    atheris.Setup([sys.argv[0], *LIMITS, *options, str(folder / "seeds")], once, **more)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
