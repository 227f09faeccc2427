"""Others' signed records: which of them count here, after a look at each and a measurement of some.

A signature says who measured, not that it is true. So no signed time below the bound of today counts, no
Config outside its space, no workload under another's digest; and of each key's records a share, drawn at
random, is measured and judged again. One that does not hold revokes the key.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from tilewright.compiler_core.errors import InputError, TilewrightError
from tilewright.compiler_core.ir.graph_json import graph_from_json, workload_from_json
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import parse_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.cost_model.network_bound import network_bound_cycles
from tilewright.db.records import TrialRow, WorkloadKind
from tilewright.db.repository import Repository
from tilewright.db.sharing.trust import SignedTrial, Trust, TrustedKey
from tilewright.db.storage.near import parse_json
from tilewright.db.storage.session import Database, open_existing
from tilewright.measure.device import built_in_info
from tilewright.measure.results import Status
from tilewright.search_space.network import NetworkTask
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.verbs.reverify import prepared_claim

TOLERANCE = 0.05
"""A time that is measured again may differ so much from the signed one."""
BELOW_BOUND = 1.0 - 1e-9
Draw = Callable[[int, int], list[int]]


@dataclass(frozen=True)
class Vouched:
    """What became of the records that one key signed: `counted` from now on, `false` signatures, those
    `refused` with the first reason, and how many were measured again. `revoked` is why the key is not trusted
    any more.
    """

    name: str
    counted: int
    false: int
    refused: int
    measured: int
    reason: str = ""
    revoked: str = ""


def vouch_all(database: str | Path, draw: Draw | None = None) -> tuple[Vouched, ...]:
    """Looks at all records that trusted keys signed and that do not count yet, key by key.

    `draw(number, of)` gives the positions that are measured again; without it chance does, which no signer
    can foresee.
    """
    opened = open_existing(database)
    try:
        trust = Trust(opened)
        drawn = draw or (lambda number, of: random.SystemRandom().sample(range(of), number))
        return tuple(_vouch(opened, trust, key, drawn) for key in trust.listed() if key.revoked_at_s is None)
    finally:
        opened.close()


def _vouch(database: Database, trust: Trust, key: TrustedKey, draw: Draw) -> Vouched:
    waiting, false = trust.waiting(key)
    chips: dict[str, Target | None] = {}
    repository = Repository(database)
    reasons: list[str] = []
    good: list[tuple[SignedTrial, Target]] = []
    for each in waiting:
        if each.key.target_digest not in chips:
            chips[each.key.target_digest] = _chip(repository, each.key.target_digest)
        chip = chips[each.key.target_digest]
        reason = "its target cannot be read" if chip is None else objection(each, chip)
        if chip is None or reason:
            reasons.append(reason)
        else:
            good.append((each, chip))
    chosen = draw(ceil(key.share * len(good)), len(good)) if key.share and good else []
    for place in chosen:
        reason = measured_again(*good[place])
        if reason:
            run = good[place][0].run.asked.uid
            revoked = f"trial {good[place][0].trial.trial.number} of run {run}: {reason}"
            trust.revoke(key.signer, revoked)
            return Vouched(key.name, 0, false, len(waiting), len(chosen), reason, revoked)
    trust.vouch(key.signer, [each for each, _ in good])
    first = reasons[0] if reasons else ""
    return Vouched(key.name, len(good), false, len(reasons), len(chosen), first)


def _chip(repository: Repository, digest: str) -> Target | None:
    row = repository.target(digest)
    chip = None if row is None else parse_target(row.text)[0]
    return chip if chip is not None and chip.digest == digest else None


def objection(signed: SignedTrial, chip: Target) -> str:
    """Why a signed trial cannot be true, or is of no use here; empty where nothing speaks against it."""
    measured, trial = signed.trial.trial.measurement, signed.trial.trial
    workload = signed.workload
    try:
        body = parse_json(workload.body, f"body of workload {workload.digest[:12]}")
        if workload.kind is WorkloadKind.FOREIGN:
            return "its space is somebody else's"
        if workload.kind is WorkloadKind.KERNEL:
            kernel = workload_from_json(body)
            task = KernelTask(Regions(kernel), chip)
            digest, bound_us, fits = kernel.digest, task.bound_us, task.space.contains(trial.config)
        else:
            network = NetworkTask(graph_from_json(body))
            digest, fits = network.digest, True
            bound_us = network_bound_cycles(network.graph, chip) / chip.cycles_per_us
    except (TilewrightError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return f"its workload cannot be read: {error}"
    if digest != workload.digest:
        return "its workload does not have the digest it came under"
    if not fits:
        return "its config is not in the space of today"
    if measured.latency_us is not None and measured.latency_us < bound_us * BELOW_BOUND:
        return f"it took {measured.latency_us} us, less than the bound of {bound_us} us"
    if trial.bound_us is not None and trial.bound_us < bound_us * BELOW_BOUND:
        return f"it names a bound of {trial.bound_us} us; that of today is {bound_us} us"
    return ""


def measured_again(signed: SignedTrial, chip: Target) -> str:
    """Why a signed trial does not hold here; empty where it does. Its numbers are checked, its time measured.

    Only what the target's own simulated device measured can be measured again without that device.
    """
    from tilewright.measure.simulator.device import SimulatedDevice

    info = built_in_info(chip)
    asked = signed.run.asked
    if chip.identity or (asked.toolchain, asked.protocol) != (info.toolchain, info.protocol):
        return "it cannot be measured again here: it is of another device; trust the key with a share of 0"
    try:
        row = TrialRow(signed.key, signed.trial.trial, signed.trial.created_at_s, True, asked.protocol)
        claim = prepared_claim(row, signed.workload, chip, seed=0)
    except (InputError, TilewrightError) as error:
        return str(error)
    (found,) = SimulatedDevice(chip).measure(claim.task, [signed.trial.trial.config])
    said_us = signed.trial.trial.measurement.latency_us
    if found.status is not Status.OK or found.latency_us is None:
        return f"measured again it is {found.status}: {found.reason}"
    # Neither way: a default that was signed too slow would let a slow answer pass.
    if said_us is None or abs(found.latency_us - said_us) > TOLERANCE * said_us:
        return f"it was signed with {said_us} us, and takes {found.latency_us} us"
    return ""
