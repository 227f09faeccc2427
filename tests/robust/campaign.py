"""Hostile files, files from the field, and mutants of both, through `tune run` in the process: import, plan,
a tiny search, verification. Nothing ends in a traceback, nothing takes over 10 s or 1 GB.

    python -m tests.robust.campaign --mutants 2000 --seed 7 [--keep FOLDER]
"""

import argparse
import csv
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.onnx_models import SHARED
from tests.robust.child import Ending, tune, warm
from tests.robust.mutations import mutated

FOLDERS = ("hostile", "field")
TRIALS = 2
TARGETS = ("ascend310", "ethos_u55_256", "tpu_v4i")


@dataclass(frozen=True)
class Member:
    """A file, and the dims that it wants bound."""

    path: Path
    dims: tuple[str, ...] = ()


def members() -> list[Member]:
    """Every file of the shared folders, in order of name."""
    found = []
    for folder in FOLDERS:
        with (SHARED / folder / "expected.csv").open() as file:
            dims = {row["file"]: tuple((row.get("dims") or "").split()) for row in csv.DictReader(file)}
        found += [Member(path, dims.get(path.name, ())) for path in sorted((SHARED / folder).glob("*.onnx"))]
    return found


def mutants(number: int, seed: int, folder: Path) -> Iterator[Member]:
    """`number` mutants of the members in turn, one file at a time; what lies beside a member is beside it."""
    originals = members()
    for source in {member.path.parent for member in originals}:
        for beside in source.iterdir():
            if beside.suffix != ".onnx" and beside.is_file():
                shutil.copy(beside, folder / beside.name)
    for index in range(number):
        original = originals[index % len(originals)]
        path = folder / f"{index:05d}_{original.path.name}"
        path.write_bytes(mutated(original.path.read_bytes(), Random(f"{seed} {index}")))
        yield Member(path, original.dims)
        path.unlink()


def tuned(member: Member, number: int, folder: Path) -> Ending:
    """A tiny run of a file, for one target after the other."""
    database = folder / "tuning.db"
    target = TARGETS[number % len(TARGETS)]
    arguments = ["run", str(member.path), "--target", target, "--trials", str(TRIALS), "--ray", "none"]
    ending = tune([*arguments, *member.dims, "--db", str(database)], folder / "said.txt")
    for rest in folder.glob("tuning.db*"):
        rest.unlink()
    return ending


def main(argv: list[str] | None = None) -> int:
    """Run the campaign; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="where files that show something wrong are kept")
    asked = parser.parse_args(argv)
    warm()
    codes, wrong, worst_s, worst_bytes = Counter[int](), 0, 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        folder, beside = Path(name), Path(name) / "models"
        beside.mkdir()
        for number, member in enumerate(_all(asked.mutants, asked.seed, beside)):
            ending = tuned(member, number, folder)
            codes[ending.code] += 1
            worst_s, worst_bytes = max(worst_s, ending.seconds), max(worst_bytes, ending.peak_bytes)
            complaint = ending.complaint
            if complaint or ending.code == 1:
                last = "".join(ending.said.strip().splitlines()[-1:])
                print(f"{member.path.name}: {complaint or 'exit 1'}: {last[:300]}", flush=True)
            if complaint:
                wrong += 1
                if asked.keep:
                    asked.keep.mkdir(exist_ok=True)
                    shutil.copy(member.path, asked.keep)
                    (asked.keep / f"{member.path.stem}.txt").write_text(ending.said)
    print(f"{sum(codes.values())} files, exit codes {dict(sorted(codes.items()))}, {wrong} wrong,", end=" ")
    print(f"at most {worst_s:.1f} s and {worst_bytes >> 20} MiB")
    return int(wrong > 0)


def _all(number: int, seed: int, folder: Path) -> Iterator[Member]:
    yield from members()
    yield from mutants(number, seed, folder)


if __name__ == "__main__":
    sys.exit(main())
