"""The bank: fills it, writes it into the package, and verifies every record of it again.

    python -m benchmarks.bank fill [--trials N] [--networks NAMES] [--targets NAMES] [--minutes M]
    python -m benchmarks.bank check [--share S] [--targets NAMES]

`fill` tunes each network on each target, the light ones first, into build/bank.db, and then writes the file;
what is there already costs nothing, so a fill that was cut off goes on. `check` takes the records in as if
they came from strangers, and measures and judges them one by one.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import TilewrightError, UsageError
from tilewright.compiler_core.target_model.file import list_targets, load_target, target_text
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.db.exchange.entries import Entry, StoredRun, StoredTrial
from tilewright.db.exchange.load import load_entries
from tilewright.db.layers.bank import (
    BANK_FILE,
    MOST_BANK_BYTES,
    Bank,
    BankHead,
    bank_of,
    read_bank,
    write_bank,
)
from tilewright.db.records import Best, NewRun, Purpose, TargetRow, Trial
from tilewright.db.storage.session import open_database
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status
from tilewright.tuner.network.opened import open_network
from tilewright.tuner.subject import Subject
from tilewright.tuner.verbs.reverify import verify_claims
from tilewright.tuner.verbs.tune import tune

NETWORKS = (
    "squeezenet",
    "resnet50",
    "bvlc_alexnet",
    "shufflenet",
    "zfnet512",
    "inception_v1",
    "vgg19",
    "inception_v2",
    "densenet121",
)
"""Networks that ship with the onnx package, the light ones first."""
TRIALS = 64
WORK = Path("build") / "bank.db"


def network_file(name: str) -> Path:
    """The ONNX file of a network; UsageError where the onnx package has none of that name."""
    found = find_spec("onnx")
    folder = Path(*(found.submodule_search_locations or ())) if found else Path()
    path = folder / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    if not path.is_file():
        raise UsageError(f"network {name!r} is none of {', '.join(NETWORKS)}")
    return path


def fill(
    networks: Sequence[str],
    targets: Sequence[str],
    trials: int,
    minutes: float = float("inf"),
    work: Path = WORK,
    file: Path = BANK_FILE,
) -> Bank:
    """Tunes what `work` does not know yet for at most so many minutes, and writes the bank to `file`.

    A network and target that cannot run together are named and left out.
    """
    work.parent.mkdir(parents=True, exist_ok=True)
    open_database(work).close()
    until = time.monotonic() + 60.0 * minutes
    done: list[tuple[str, str]] = []
    for name in networks:
        for target in targets:
            model = network_file(name)
            try:
                known = is_known(model, target, work)
                if not known and time.monotonic() >= until:
                    continue
                report = None if known else tune(model, target, trials=trials, database=work, ray="none")
            except TilewrightError as error:
                say(f"{name} on {target}: left out: {error}")
                continue
            done.append((name, target))
            say(f"{name} on {target}: {'known' if report is None else f'{report.tuned.latency_us:.2f} us'}")
    database = open_database(work, read_only=True)
    chips = [load_target(name) for name in dict.fromkeys(target for _, target in done)]
    head = BankHead(
        f"{datetime.now(UTC):%Y-%m-%d}",
        TOOLCHAIN,
        tuple(dict.fromkeys(name for name, _ in done)),
        tuple(chip.name for chip in chips),
        trials,
    )
    rows = tuple(TargetRow(chip.digest, chip.name, target_text(chip.name)) for chip in chips)
    bank = bank_of(database, head, rows)
    database.close()
    size = write_bank(bank, file)
    say(f"{file.name}: {head}; {len(bank.bests)} records, {size} bytes of at most {MOST_BANK_BYTES}")
    return bank


def is_known(model: Path, target: str, work: Path) -> bool:
    """Whether the whole network has an answer on a target. (A lookup would plan what it does not know.)"""
    with open_network(Subject(model, target), work, read_only=True) as opened:
        return opened.records.known_network() is not None


def check(bank: Bank, targets: Sequence[str], share: float) -> list[str]:
    """Objections, a line each: records that measure or compute otherwise than they say, and stale ones."""
    objections = []
    if bank.head.toolchain != TOOLCHAIN:
        objections.append(f"the bank is of toolchain {bank.head.toolchain}, today's is {TOOLCHAIN}")
    objections += [
        f"target {row.name} has changed since the bank was filled"
        for row in bank.targets
        if row.name in targets and row.digest != load_target(row.name).digest
    ]
    for row in bank.targets:
        if row.name not in targets or objections:
            continue
        bests = [each for each in bank.bests if each.key.target_digest == row.digest]
        chosen = [each for each in bests if _drawn(each) < share]
        with tempfile.TemporaryDirectory() as folder:
            database = open_database(Path(folder) / "claims.db")
            load_entries(database, entries_of(bank, row, chosen), "bank")
            database.close()
            verdicts = verify_claims(row.name, database=Path(folder) / "claims.db", workers=1, ray="none")
        held = 0
        for verdict in verdicts:
            same = verdict.promoted and verdict.measured_us == verdict.claimed_us
            held += same
            if not same:
                said = f"claimed {verdict.claimed_us} us, measured {verdict.measured_us} {verdict.reason}"
                objections.append(f"{row.name} {verdict.workload_digest[:16]}: {said}".rstrip())
        if len(verdicts) != len(chosen):
            objections.append(f"{row.name}: {len(verdicts)} of {len(chosen)} records were claims")
        say(f"{row.name}: {held} of {len(chosen)} records hold, of {len(bests)}")
    return objections


def _drawn(best: Best) -> float:
    """A number from 0 to 1 that is the record's own, so that a share is always the same records."""
    key = best.key
    drawn = digest_of([key.workload_digest, key.target_digest, str(key.objective)])
    return int(drawn[:8], 16) / 16**8


def entries_of(bank: Bank, target: TargetRow, bests: Sequence[Best]) -> Iterator[Entry]:
    """Records of a bank on one target as others' records come in: sorted, and claims until measured here."""
    needed = {each.key.workload_digest for each in bests}
    yield target
    yield from (row for row in bank.workloads if row.digest in needed)
    objectives = sorted({each.key.objective for each in bests})
    for objective in objectives:
        asked = NewRun(target.digest, bank.head.toolchain, objective, 0, device="bank", uid=_uid(objective))
        yield StoredRun(asked, 0.0)
    for number, each in enumerate(sorted(bests, key=lambda best: _uid(best.key.objective))):
        measured = Measurement(
            Status.OK,
            each.latency_us,
            latency_cycles=each.latency_cycles,
            energy_uj=each.energy_uj,
            peak_bytes=each.peak_bytes,
        )
        yield StoredTrial(
            Trial(
                run=_uid(each.key.objective),
                number=number,
                workload_digest=each.key.workload_digest,
                space_digest=each.space_digest,
                config=each.config,
                measurement=measured,
                purpose=Purpose.CONFIRMATION,
                bound_us=each.bound_us,
                verification=each.verification,
            ),
            0.0,
        )


def _uid(objective: Objective) -> str:
    return f"bank-{objective}"


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 1 where a record does not hold."""
    parser = argparse.ArgumentParser(description="Fill the bank, or check it.")
    parser.add_argument("verb", choices=("fill", "check"))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--targets", default=",".join(list_targets()))
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--file", type=Path, default=BANK_FILE)
    parser.add_argument("--work", type=Path, default=WORK)
    asked = parser.parse_args(arguments)
    networks, targets = asked.networks.split(","), asked.targets.split(",")
    if asked.verb == "fill":
        fill(networks, targets, asked.trials, asked.minutes, asked.work, asked.file)
        return 0
    objections = check(read_bank(asked.file), targets, asked.share)
    for line in objections:
        say(line)
    return 1 if objections else 0


if __name__ == "__main__":
    sys.exit(main())
