"""Signed records: nothing forged counts, nor what a revoked key signed; their order does not matter."""

import dataclasses
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.db.samples import TARGET, filled, key_of, workload
from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.db.exchange.entries import (
    Entry,
    StoredRun,
    StoredSignature,
    StoredTrial,
    from_object,
    to_object,
)
from tilewright.db.exchange.export import entries_of, export_records
from tilewright.db.exchange.lines import write_lines
from tilewright.db.exchange.load import import_records, load_entries
from tilewright.db.exchange.union import union
from tilewright.db.records import Best
from tilewright.db.repository import Repository
from tilewright.db.sharing.signing import SigningKey, device_digest, is_signed, make_key, read_key
from tilewright.db.sharing.trust import Trust, TrustedKey
from tilewright.db.storage.session import Database, open_database

ROWS = [workload(name) for name in ("first", "second")]
LAB = SigningKey(bytes(range(32)))
STRANGER = SigningKey(bytes(range(1, 33)))


def signed_entries(folder: Path, key: SigningKey = LAB) -> list[Entry]:
    """The records of a lab that measured two kernels and signed what decides."""
    lab = open_database(folder / "lab.db")
    filled(Repository(lab), ROWS, trials_each=2, uid="lab")
    assert Trust(lab).sign(key) == 6
    assert Trust(lab).sign(key) == 0
    entries = list(entries_of(lab))
    lab.close()
    return entries


def arrived(database: Database, entries: Sequence[Entry], *keys: TrustedKey) -> list[Best]:
    """The answers of a database that took the entries in, by the word of the keys."""
    load_entries(database, sorted(entries, key=_place), "a lab")
    trust = Trust(database)
    for key in keys:
        trust.trust(key)
        trust.vouch(key.signer, trust.waiting(key)[0])
    return list(Repository(database).all_best())


def _place(entry: Entry) -> Any:
    from tilewright.db.exchange.entries import identity

    return identity(entry)


def test_what_a_trusted_key_signed_counts_until_it_is_revoked(url: str, tmp_path: Path) -> None:
    entries = signed_entries(tmp_path)
    database = open_database(url)
    assert arrived(database, entries) == []
    stranger = TrustedKey(STRANGER.signer, "stranger")
    assert arrived(database, entries, stranger) == []
    bests = arrived(database, entries, TrustedKey(LAB.signer, "lab"))
    assert {best.key for best in bests} == {key_of(row) for row in ROWS}
    trust = Trust(database)
    Repository(database).rebuild_best()
    assert list(Repository(database).all_best()) == bests
    assert trust.called("lab").signer == trust.called(LAB.signer[:8]).signer == LAB.signer
    assert trust.revoke(LAB.signer, "it lied") == 6
    assert list(Repository(database).all_best()) == []
    assert [(key.name, key.reason) for key in trust.listed() if key.revoked_at_s] == [("lab", "it lied")]
    assert trust.waiting(trust.called("lab")) == ([], 0)
    with pytest.raises(RecordError, match="is not trusted"):
        trust.revoke(LAB.signer)
    with pytest.raises(RecordError, match="not trusted any more"):
        trust.vouch(LAB.signer, [])
    with pytest.raises(RecordError, match="0 trusted keys"):
        trust.called("nobody")
    database.close()


def test_a_key_speaks_for_its_own_devices(tmp_path: Path) -> None:
    entries = signed_entries(tmp_path)
    (run,) = (entry for entry in entries if isinstance(entry, StoredRun))
    for device, counted in ((device_digest(run.asked), 2), (digest_of("another device"), 0)):
        database = open_database(tmp_path / f"{counted}.db")
        key = TrustedKey(LAB.signer, "lab", devices=(device,))
        assert len(arrived(database, entries, key)) == counted
        database.close()


def test_signatures_travel_and_are_part_of_a_file(tmp_path: Path) -> None:
    entries = signed_entries(tmp_path)
    assert [type(entry) for entry in entries][-6:] == [StoredSignature] * 6
    written = write_lines(tmp_path / "lab.jsonl", entries)
    assert written.entries == len(entries)
    database = open_database(tmp_path / "here.db")
    assert import_records(database, tmp_path / "lab.jsonl").new == len(entries)
    assert import_records(database, tmp_path / "lab.jsonl").new == 0
    assert export_records(database, tmp_path / "again.jsonl") == written
    database.close()
    nowhere = [entry for entry in entries if not isinstance(entry, StoredTrial)]
    with pytest.raises(RecordError, match=r"a signature of trial \d of run lab, which is nowhere"):
        load_entries(open_database(tmp_path / "other.db"), nowhere, "lab")


def forgeries(entries: Sequence[Entry], seed: int) -> Iterator[list[Entry]]:
    """The records again and again, each time with another lie that still has the form of a record."""
    rng = random.Random(seed)
    (run,) = (entry for entry in entries if isinstance(entry, StoredRun))
    rest = [entry for entry in entries if not isinstance(entry, StoredRun | StoredTrial | StoredSignature)]
    trials = [entry for entry in entries if isinstance(entry, StoredTrial)]
    signatures = [entry for entry in entries if isinstance(entry, StoredSignature)]
    lies: list[Callable[[], list[Entry]]] = [
        lambda: [run, *(_lying(each, rng) for each in trials), *signatures],
        lambda: [_other_run(run, rng), *trials, *signatures],
        lambda: [run, *trials, *(_flipped(each, rng) for each in signatures)],
        lambda: [run, *trials, *_exchanged(signatures, rng)],
        lambda: [run, *trials, *_by_strangers(run, trials, signatures)],
        lambda: [run, *(_lying(each, rng) for each in trials), *_by_strangers(run, trials, signatures)],
    ]
    while True:
        yield [*rest, *rng.choice(lies)()]


def _lying(each: StoredTrial, rng: random.Random) -> StoredTrial:
    """A trial of which one field is another, with digests that belong to it."""
    value = dict(to_object(each)["value"])
    faster = rng.uniform(0.3, 0.99)
    lies: list[dict[str, Any]] = [
        {"bound_us": rng.uniform(0.0, 0.9)},
        {"created_at_s": value["created_at_s"] + rng.uniform(0.1, 9.0)},
        {"seed": value["seed"] + 1 + rng.randrange(9)},
        {"verification": "sampled" if value["verification"] != "sampled" else "value-exact"},
        {"worker": f"w{rng.randrange(99)}"},
        {"peak_bytes": rng.randrange(99)},
        {"energy_uj": rng.uniform(0.0, 1.0)},
        {"space_digest": digest_of(rng.random())},
        {"reason": f"r{rng.random()}"},
    ]
    if value["latency_us"] is not None:
        times = [each * faster for each in value["samples_us"]]
        lies.append({"latency_us": value["latency_us"] * faster, "samples_us": times})
    value |= rng.choice(lies)
    made = from_object({"kind": "trial", "value": value, "digest": digest_of(["trial", value])})
    assert isinstance(made, StoredTrial)
    return made


def _other_run(run: StoredRun, rng: random.Random) -> StoredRun:
    asked = run.asked
    other = rng.choice(
        [
            dataclasses.replace(asked, toolchain=f"other-{rng.randrange(99)}"),
            dataclasses.replace(asked, device=f"other-{rng.randrange(99)}"),
            dataclasses.replace(asked, protocol=f"other-{rng.randrange(99)}"),
            dataclasses.replace(asked, seed=asked.seed + 1 + rng.randrange(9)),
            dataclasses.replace(asked, settings='{"level":3}'),
        ]
    )
    return dataclasses.replace(run, asked=other)


def _flipped(each: StoredSignature, rng: random.Random) -> StoredSignature:
    raw = bytearray.fromhex(each.signature)
    raw[rng.randrange(64)] ^= 1 << rng.randrange(8)
    return dataclasses.replace(each, signature=raw.hex())


def _exchanged(signatures: Sequence[StoredSignature], rng: random.Random) -> list[StoredSignature]:
    """Each trial with the signature of another."""
    step = rng.randrange(1, len(signatures))
    return [
        dataclasses.replace(each, signature=signatures[(place + step) % len(signatures)].signature)
        for place, each in enumerate(signatures)
    ]


def _by_strangers(
    run: StoredRun, trials: Sequence[StoredTrial], signatures: Sequence[StoredSignature]
) -> list[StoredSignature]:
    """Signatures of somebody else under the name of the lab."""
    made = [STRANGER.sign(run, each) for each in trials if each.trial.purpose == "confirmation"]
    return [dataclasses.replace(each, signer=signatures[0].signer) for each in made]


def accepted(entries: Sequence[Entry], number: int, seed: int) -> tuple[int, int]:
    """How many of so many forged signatures were found good, and how many there were."""
    good = tried = 0
    for forged in forgeries(entries, seed):
        (run,) = (entry for entry in forged if isinstance(entry, StoredRun))
        trials = {
            (each.trial.purpose, each.trial.number, each.trial.attempt): each
            for each in forged
            if isinstance(each, StoredTrial)
        }
        for each in forged:
            if isinstance(each, StoredSignature):
                tried += 1
                good += is_signed(each, run, trials[each.purpose, each.number, each.attempt])
        if tried >= number:
            break
    return good, tried


def test_nothing_forged_is_accepted(tmp_path: Path) -> None:
    entries = signed_entries(tmp_path)
    good, tried = accepted(entries, 300, seed=0)
    assert (good, tried >= 300) == (0, True)
    for number, forged in zip(range(6), forgeries(entries, 1), strict=False):
        database = open_database(tmp_path / f"{number}.db")
        assert arrived(database, forged, TrustedKey(LAB.signer, "lab", share=0.0)) == []
        assert Trust(database).waiting(Trust(database).called("lab")) == ([], 6)
        database.close()


@pytest.mark.campaign
def test_ten_thousand_forgeries(tmp_path: Path) -> None:
    good, tried = accepted(signed_entries(tmp_path), 10_000, seed=2)
    assert (good, tried >= 10_000) == (0, True)


def merged(parts: Sequence[Sequence[Entry]], rng: random.Random) -> list[str]:
    order = list(parts)
    rng.shuffle(order)
    return [json.dumps(to_object(each), sort_keys=True) for each in union(order)]


def random_parts(entries: Sequence[Entry], rng: random.Random) -> list[list[Entry]]:
    """Three parts of the records, each with all that its entries speak of; signatures of three signers."""
    (run,) = (entry for entry in entries if isinstance(entry, StoredRun))
    trials = [entry for entry in entries if isinstance(entry, StoredTrial)]
    others = [key.sign(run, each) for key in (STRANGER, SigningKey(bytes(32))) for each in trials]
    parts = []
    for _ in range(3):
        chosen = [each for each in trials if rng.random() < 0.6]
        places = {_place(each)[1:] for each in chosen}
        signatures = [each for each in (*entries, *others) if isinstance(each, StoredSignature)]
        kept = [
            each
            for each in signatures
            if (each.run, str(each.purpose), each.number, each.attempt) in places and rng.random() < 0.7
        ]
        rest = [each for each in entries if not isinstance(each, StoredTrial | StoredSignature)]
        parts.append(sorted([*rest, *chosen, *dict.fromkeys(kept)], key=_place))
    return parts


def check_merges(entries: Sequence[Entry], number: int, seed: int) -> None:
    """Any order of merging gives the same entries; merging again changes nothing."""
    rng = random.Random(seed)
    for _ in range(number):
        parts = random_parts(entries, rng)
        one, other = merged(parts, rng), merged(parts, rng)
        assert one == other
        assert one == merged([list(union(parts)), parts[0]], rng)


def test_merges_with_signatures_do_not_depend_on_their_order(tmp_path: Path) -> None:
    entries = signed_entries(tmp_path)
    check_merges(entries, 30, seed=0)
    # In databases too, and so do the answers that come of them.
    rng = random.Random(5)
    parts = random_parts(entries, rng)
    bests = []
    for name, order in (("one", parts), ("two", parts[::-1])):
        database = open_database(tmp_path / f"{name}.db")
        for part in order:
            load_entries(database, part, name)
        bests.append(arrived(database, parts[0], TrustedKey(LAB.signer, "lab")))
        export_records(database, tmp_path / f"{name}.jsonl")
        database.close()
    assert bests[0] == bests[1]
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


@pytest.mark.campaign
def test_ten_thousand_merges_with_signatures(tmp_path: Path) -> None:
    check_merges(signed_entries(tmp_path), 10_000, seed=1)


def test_keys_lie_in_files_of_their_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    made, path = make_key("laptop")
    assert path.stat().st_mode & 0o077 == 0
    assert read_key("laptop").signer == made.signer
    with pytest.raises(UsageError, match="is there already"):
        make_key("laptop")
    for name in ("", "a/b", "x" * 61):
        with pytest.raises(UsageError, match="use up to 60"):
            read_key(name)
    with pytest.raises(UsageError, match="No such file"):
        read_key("nobody")
    for text in ("", "tw-secret-zz", "tw-secret-" + "z" * 64, "x" * 9999):
        path.write_text(text)
        with pytest.raises(UsageError, match="holds no key"):
            read_key("laptop")


def test_trust_is_checked() -> None:
    database = object()
    for key in (
        TrustedKey("x", "lab"),
        TrustedKey(LAB.signer, "lab", devices=("y",)),
        TrustedKey(LAB.signer, "lab", share=1.5),
    ):
        with pytest.raises(RecordError, match=r"digest|share"):
            Trust(database).trust(key)  # type: ignore[arg-type]
    assert TARGET.digest


def test_a_revoked_key_is_never_trusted_again(tmp_path: Path) -> None:
    database = open_database(tmp_path / "here.db")
    trust = Trust(database)
    trust.trust(TrustedKey(LAB.signer, "lab"))
    trust.revoke(LAB.signer, "it lied")
    with pytest.raises(RecordError, match="was revoked, which is for good"):
        trust.trust(TrustedKey(LAB.signer, "lab"))
    assert [key.reason for key in trust.listed()] == ["it lied"]
    database.close()


@pytest.mark.parametrize(
    "weak", ["00" * 32, "00" * 31 + "80", "01" + "00" * 31, "ed" + "ff" * 30 + "7f", "ec" + "ff" * 30 + "7f"]
)
def test_a_key_that_needs_no_secret_is_refused(weak: str, tmp_path: Path) -> None:
    """Points of small order verify forgeries of anybody."""
    database = open_database(tmp_path / "here.db")
    with pytest.raises(RecordError, match="none that a secret belongs to"):
        Trust(database).trust(TrustedKey(weak, "weak"))
    database.close()
