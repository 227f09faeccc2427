"""The bank: fills it, writes it into the package, and verifies every record of it again.

    python -m benchmarks.bank fill [--trials N] [--networks NAMES] [--targets NAMES] [--minutes M]
    python -m benchmarks.bank write
    python -m benchmarks.bank check [--share S] [--targets NAMES]

`fill` tunes each network on each target, the light ones first, into build/bank.db, and then writes the file;
what is there already costs nothing, so a fill that was cut off goes on. `write` writes the file of what is
there, also while it is filled. `check` takes the records in as if they came from strangers, and measures and
judges them one by one.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from benchmarks.networks.resnet18 import resnet18
from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import TilewrightError, UsageError
from tilewright.compiler_core.files.outputs import output
from tilewright.compiler_core.onnx_import.sizes import import_bound
from tilewright.compiler_core.target_model.file import list_targets, load_target, target_text
from tilewright.compiler_core.target_model.target import Target
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
from tilewright.db.records import Best, Key, NewRun, Purpose, TargetRow, Trial
from tilewright.db.storage.session import open_database
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.network import numbered
from tilewright.tuner.network.opened import open_network
from tilewright.tuner.subject import Subject
from tilewright.tuner.verbs.reverify import verify_claims
from tilewright.tuner.verbs.tune import tune

OWN = "resnet18"
NETWORKS = (
    "squeezenet",
    "bvlc_alexnet",
    "zfnet512",
    "vgg19",
    OWN,
    "resnet50",
    "shufflenet",
    "inception_v1",
    "inception_v2",
    "densenet121",
)
"""Networks that ship with the onnx package and one that is made here; those that plan fastest first."""
PREFIX = "light_"
TRIALS = 16
WORK = Path("build") / "bank.db"


def network_file(name: str) -> Path:
    """The ONNX file of a network; UsageError where there is none of that name."""
    if name == OWN:
        made = Path(tempfile.gettempdir()) / f"{PREFIX}{OWN}.onnx"
        with output(made) as stream:
            stream.write(resnet18().SerializeToString())
        return made
    found = find_spec("onnx")
    folder = Path(*(found.submodule_search_locations or ())) if found else Path()
    path = folder / "backend" / "test" / "data" / "light" / f"{PREFIX}{name}.onnx"
    if not path.is_file():
        raise UsageError(f"network {name!r} is none of {', '.join(NETWORKS)}")
    return path


def fill(
    networks: Sequence[str],
    targets: Sequence[str],
    trials: int,
    minutes: float = float("inf"),
    work: Path = WORK,
) -> None:
    """Tunes what `work` does not know yet for at most so many minutes.

    A network and target that cannot run together are named and left out.
    """
    work.parent.mkdir(parents=True, exist_ok=True)
    open_database(work).close()
    until = time.monotonic() + 60.0 * minutes
    for name, target in ((name, target) for name in networks for target in targets):
        file = network_file(name)
        try:
            known = is_known(file, target, work)
            if not known and time.monotonic() >= until:
                continue
            report = None if known else tune(file, target, trials=trials, database=work, ray="none")
        except TilewrightError as error:
            say(f"{name} on {target}: left out: {error}")
            continue
        say(f"{name} on {target}: {'known' if report is None else f'{report.tuned.latency_us:.2f} us'}")


def write(networks: Sequence[str], trials: int, work: Path = WORK, file: Path = BANK_FILE) -> Bank:
    """Writes the bank of what `work` knows under today's toolchain and targets. What `file` has beside that
    stays, where it is of today.
    """
    chips = {chip.digest: chip for chip in map(load_target, list_targets())}
    database = open_database(work, read_only=True)
    known = bank_of(
        database, BankHead("", TOOLCHAIN, (), (), 0, 0), [_row_of(chip) for chip in chips.values()]
    )
    database.close()
    before = read_bank(file) if file.is_file() else known
    bests = {each.key: each for each in (*before.bests, *known.bests) if _is_of_today(each, chips)}
    workloads = {row.digest: row for row in (*before.workloads, *known.workloads)}
    digests = {graph_digest_of(name): name for name in networks}
    pairs = [
        (digests[key.workload_digest], key.target_digest)
        for key in bests
        if key.workload_digest in digests and key.objective is Objective.LATENCY
    ]
    filled = [digest for digest in chips if any(target == digest for _, target in pairs)]
    head = BankHead(
        f"{datetime.now(UTC):%Y-%m-%d}",
        TOOLCHAIN,
        tuple(name for name in networks if any(name == each for each, _ in pairs)),
        tuple(chips[digest].name for digest in filled),
        trials,
        len(pairs),
    )
    needed = {key.workload_digest for key in bests}
    bank = Bank(
        head,
        tuple(_row_of(chips[digest]) for digest in filled),
        tuple(workloads[digest] for digest in sorted(needed)),
        tuple(bests[key] for key in sorted(bests, key=_place)),
    )
    size = write_bank(bank, file)
    say(f"{file.name}: {head}; {len(bank.bests)} records, {size} bytes of at most {MOST_BANK_BYTES}")
    return bank


def _row_of(chip: Target) -> TargetRow:
    return TargetRow(chip.digest, chip.name, target_text(chip.name))


def _is_of_today(record: Best, chips: Mapping[str, Target]) -> bool:
    return record.key.toolchain == TOOLCHAIN and record.key.target_digest in chips


def _place(key: Key) -> tuple[str, str, str]:
    return key.workload_digest, key.target_digest, str(key.objective)


def graph_digest_of(name: str) -> str:
    """The digest that a network is known under."""
    return numbered(import_bound(network_file(name), {}).graph).task.digest


def is_known(file: Path, target: str, work: Path) -> bool:
    """Whether the whole network has an answer on a target. (A lookup would plan what it does not know.)"""
    with open_network(Subject(file, target), work, read_only=True) as opened:
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


def _drawn(record: Best) -> float:
    """A number from 0 to 1 that is the record's own, so that a share is always the same records."""
    key = record.key
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
    for number, each in enumerate(sorted(bests, key=lambda one: _uid(one.key.objective))):
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
    parser.add_argument("verb", choices=("fill", "write", "check"))
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
        fill(networks, targets, asked.trials, asked.minutes, asked.work)
    if asked.verb != "check":
        write(networks, asked.trials, asked.work, asked.file)
        return 0
    objections = check(read_bank(asked.file), targets, asked.share)
    for line in objections:
        say(line)
    return 1 if objections else 0


if __name__ == "__main__":
    sys.exit(main())
