"""Keys that are trusted, and which of the records that they signed count here.

    imported -> signed by a trusted key, of a device it may speak for -> no objection -> vouched for

A record that nobody vouches for stays a claim until it is measured here. Which records count follows from the
signatures, the trials and the keys alone, so it does not matter in which order they arrived.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, delete, insert, or_, select, update

from tilewright.compiler_core.errors import RecordError
from tilewright.db.answers import derive_again
from tilewright.db.exchange.entries import StoredRun, StoredSignature, StoredTrial
from tilewright.db.exchange.export import stored_run
from tilewright.db.records import Key, Purpose, WorkloadRow, check_digest, plain_name, plain_text
from tilewright.db.sharing.signing import SigningKey, check_public_key, device_digest, is_signed
from tilewright.db.storage.columns import database_clock
from tilewright.db.storage.rows import select_trial, to_run, to_trial, to_workload
from tilewright.db.storage.schema import run, signature, trial, trusted_key, workload
from tilewright.db.storage.session import Database
from tilewright.db.storage.writes import pieces
from tilewright.measure.results import Status

SHARE = 0.05
"""Of the records that a key signed, so many are measured again before any of them counts."""


@dataclass(frozen=True)
class TrustedKey:
    """A public key and what it is trusted with: records of `devices` (digests; all devices where none is
    named), of which a `share` is measured again here. A revoked one is trusted with nothing, for a `reason`.
    """

    signer: str
    name: str
    devices: tuple[str, ...] = ()
    share: float = SHARE
    revoked_at_s: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class SignedTrial:
    """A trial that somebody signed: with its run, its workload and the row it is kept in."""

    id: int
    key: Key
    run: StoredRun
    trial: StoredTrial
    workload: WorkloadRow


_of_signer = (
    select_trial.add_columns(signature.c.signature)
    .join(signature, signature.c.trial_id == trial.c.id)
    .where(trial.c.imported, ~signature.c.vouched)
)


class Trust:
    """Verbs on trusted keys; the promises on threads, transactions and errors are those of Repository."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def trust(self, key: TrustedKey, change: bool = False) -> None:
        """Trusts a key from now on; where it is trusted already, with another name, devices or share only to
        `change` it.

        RecordError for a key that was revoked, that needs no secret, or that has the name of another.
        """
        check_digest(key.signer, "signer's")
        for device in key.devices:
            check_digest(device, "device")
        if not 0.0 <= key.share <= 1.0:
            raise RecordError(f"a share of {key.share} is measured again; give 0 to 1")
        check_public_key(key.signer)
        with self.database.writing() as connection:
            of_signer = trusted_key.c.signer == key.signer
            named = plain_name(key.name)
            alike = select(trusted_key).where(or_(of_signer, trusted_key.c.name == named))
            for known in map(_to_key, connection.execute(alike)):
                reason = _against(known, replace(key, name=named), change)
                if reason:
                    raise RecordError(reason)
            connection.execute(delete(trusted_key).where(of_signer))
            row = {"signer": key.signer, "name": named, "share": key.share}
            connection.execute(
                insert(trusted_key), {**row, "devices": json.dumps(sorted(key.devices)), "reason": ""}
            )

    def listed(self) -> list[TrustedKey]:
        """All that were ever trusted, by name."""
        rows = self.database.ask(select(trusted_key).order_by(trusted_key.c.name, trusted_key.c.signer))
        return [_to_key(row) for row in rows]

    def called(self, name: str) -> TrustedKey:
        """The key of a name, or that begins so; RecordError where there is none or several."""
        keys = self.listed()
        named = [key for key in keys if key.name == name]
        found = (
            [key for key in named if key.revoked_at_s is None]
            or named
            or [key for key in keys if len(name) >= 8 and key.signer.startswith(name)]
        )
        if len(found) != 1:
            raise RecordError(f"{len(found)} trusted keys are called {name[:60]!r}; `tune keys list` has all")
        return found[0]

    def revoke(self, signer: str, reason: str = "") -> int:
        """Trusts a key no more: what it vouched for counts no longer; how many records that were.

        Answers that rested on them are derived anew in the same transaction.
        """
        with self.database.writing() as connection:
            closed = connection.execute(
                update(trusted_key)
                .where(trusted_key.c.signer == signer, trusted_key.c.revoked_at_s.is_(None))
                .values(revoked_at_s=database_clock(), reason=plain_text(reason))
            )
            if closed.rowcount == 0:
                raise RecordError(f"key {signer[:12]} is not trusted, or was revoked before")
            of_key = signature.c.signer == signer, signature.c.vouched
            rows = connection.execute(
                select_trial.join(signature, signature.c.trial_id == trial.c.id).where(*of_key)
            ).all()
            connection.execute(update(signature).where(*of_key).values(vouched=False))
            for key in sorted({to_trial(row).key for row in rows}, key=_order):
                derive_again(connection, key)
        return len(rows)

    def waiting(self, key: TrustedKey) -> tuple[list[SignedTrial], int]:
        """Trials that a key signed truly, for a device that it may speak for, and that do not count yet; and
        how many of its signatures are false.
        """
        if key.revoked_at_s is not None:
            return [], 0
        rows = self.database.ask(_of_signer.where(signature.c.signer == key.signer).order_by(trial.c.id))
        runs = self._runs({row.uid for row in rows})
        workloads = self._workloads({row.workload_digest for row in rows})
        good: dict[int, SignedTrial] = {}
        false = 0
        for row in rows:
            found, of_run = to_trial(row), runs[row.uid]
            stored = StoredTrial(found.trial, found.created_at_s)
            about = row.uid, Purpose(row.purpose), row.number, row.attempt
            said = StoredSignature(*about, key.signer, row.signature)
            if not is_signed(said, of_run, stored):
                false += 1
            elif not key.devices or device_digest(of_run.asked) in key.devices:
                good[row.id] = SignedTrial(row.id, found.key, of_run, stored, workloads[row.workload_digest])
        return list(good.values()), false

    def vouch(self, signer: str, signed: Sequence[SignedTrial]) -> None:
        """From now on these trials count, by the word of `signer`; answers are derived in the same
        transaction. RecordError where the key was revoked meanwhile.
        """
        with self.database.writing() as connection:
            valid = select(trusted_key.c.signer).where(
                trusted_key.c.signer == signer, trusted_key.c.revoked_at_s.is_(None)
            )
            if connection.execute(valid).first() is None:
                raise RecordError(f"key {signer[:12]} is not trusted any more; nothing was taken")
            for some in pieces([each.id for each in signed]):
                connection.execute(
                    update(signature)
                    .where(signature.c.signer == signer, signature.c.trial_id.in_(some))
                    .values(vouched=True)
                )
            for key in sorted({each.key for each in signed}, key=_order):
                derive_again(connection, key)

    def sign(self, key: SigningKey) -> int:
        """Signs what was measured here and decides on answers, where it is not signed yet; how many."""
        measured = select_trial.where(
            or_(trial.c.purpose == Purpose.CONFIRMATION, trial.c.status == Status.WRONG),
            trial.c.imported.is_(False),
            run.c.hidden_at_s.is_(None),
            ~select(signature.c.trial_id)
            .where(signature.c.trial_id == trial.c.id, signature.c.signer == key.signer)
            .exists(),
        )
        with self.database.writing() as connection:
            rows = connection.execute(measured).all()
            uids = {row.uid for row in rows}
            runs = {
                each.asked.uid: each
                for some in pieces(sorted(uids))
                for row in connection.execute(select(run).where(run.c.uid.in_(some)))
                for each in (stored_run(to_run(row)),)
            }
            signed = []
            for row in rows:
                found = to_trial(row)
                made = key.sign(runs[row.uid], StoredTrial(found.trial, found.created_at_s))
                signed.append({"trial_id": row.id, "signer": key.signer, "signature": made.signature})
            if signed:
                connection.execute(insert(signature), signed)
        return len(signed)

    def _runs(self, uids: Iterable[str]) -> dict[str, StoredRun]:
        found = {}
        for some in pieces(sorted(uids)):
            for row in self.database.ask(select(run).where(run.c.uid.in_(some))):
                found[row.uid] = stored_run(to_run(row))
        return found

    def _workloads(self, digests: Iterable[str]) -> dict[str, WorkloadRow]:
        found = {}
        for some in pieces(sorted(digests)):
            for row in self.database.ask(select(workload).where(workload.c.digest.in_(some))):
                found[row.digest] = to_workload(row)
        return found


def _against(known: TrustedKey, key: TrustedKey, change: bool) -> str:
    """Why a key is not trusted beside one of the same signer or name; empty where it is."""
    if known.signer != key.signer:
        taken = f"{key.name!r} is the name of another key, {known.signer[:12]}; choose another name"
        return "" if known.revoked_at_s is not None else taken
    if known.revoked_at_s is not None:
        return f"key {key.signer[:12]} was revoked, which is for good; let its owner make a new one"
    asked = key.name, tuple(sorted(key.devices)), key.share
    if change or asked == (known.name, known.devices, known.share):
        return ""
    devices = f"{len(known.devices)} devices" if known.devices else "all devices"
    told = f"trusted already, as {known.name!r}, for {devices}, {known.share:.0%} measured again"
    return f"key {key.signer[:12]} is {told}; --change gives it what is asked now"


def _to_key(row: Row[Any]) -> TrustedKey:
    devices = tuple(json.loads(row.devices))
    return TrustedKey(row.signer, row.name, devices, row.share, row.revoked_at_s, row.reason)


def _order(key: Key) -> tuple[str, str, str, str]:
    return key.workload_digest, key.target_digest, key.toolchain, str(key.objective)
