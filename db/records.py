"""The frozen values that cross the border of db, in and out.

Digests are 64 hex characters. Times on a clock are seconds since 1970 by the database's own clock, and
absent (None) until the database has written them.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from tilewright.compiler_core.errors import RecordError
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config

_DIGEST = re.compile(r"[0-9a-f]{64}")
_UID = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_NOT_IN_NAMES = re.compile(r"[^\w .,:+/@()\[\]=#-]")
LARGEST_INTEGER = 2**63 - 1


def check_digest(value: str, what: str) -> str:
    """`value` when it is 64 lower-case hex characters; RecordError names `what` otherwise."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise RecordError(f"{what} digest {str(value)[:80]!r} is not 64 lower-case hex characters")
    return value


def plain_name(text: str) -> str:
    """`text` as names are stored: what is neither letter, digit nor common file-name sign becomes `_`."""
    return _NOT_IN_NAMES.sub("_", text)[:200] or "_"


class Purpose(StrEnum):
    """Why a measurement was asked for. Only SEARCH counts against a budget."""

    SEARCH = "search"
    CANARY = "canary"
    CONFIRMATION = "confirmation"


class Verification(StrEnum):
    """The check of the numbers of this Config before the record was written."""

    NONE = "none"
    VALUE_EXACT = "value-exact"  # every output element compared
    SAMPLED = "sampled"  # every distinct tile shape plus sampled boxes
    FOREIGN = "foreign"  # the device's own word for it, only for foreign workloads


class WorkloadKind(StrEnum):
    """One kernel, a whole network, or a foreign space that only its digest describes."""

    KERNEL = "kernel"
    GRAPH = "graph"
    FOREIGN = "foreign"


def plain_text(text: str) -> str:
    """`text` as free texts are stored: no NUL, no lone surrogates, at most 10,000 characters."""
    return text[:10_000].encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


@dataclass(frozen=True)
class Key:
    """The key of a best record. No record answers under another value of any of the four."""

    workload_digest: str
    target_digest: str
    toolchain: str
    objective: Objective = Objective.LATENCY

    def __post_init__(self) -> None:
        check_digest(self.workload_digest, "workload")
        check_digest(self.target_digest, "target")
        if not self.toolchain:
            raise RecordError("a key needs a toolchain version; take it from the device that measures")


@dataclass(frozen=True)
class TargetRow:
    """An accelerator; `text` is its TOML file."""

    digest: str
    name: str
    text: str


@dataclass(frozen=True)
class WorkloadRow:
    """A workload. `placement` and `body` are canonical JSON texts: memory level per outer operand, the rest.

    Workloads that differ only in placement share `family_digest`.
    """

    digest: str
    family_digest: str
    kind: WorkloadKind
    placement: str = "[]"
    body: str = "{}"


@dataclass(frozen=True)
class ModelRow:
    """A network by its graph digest, and its name for people."""

    digest: str
    name: str


@dataclass(frozen=True)
class NewRun:
    """The request of a search, constant over its life. `settings` is canonical JSON of all settings that
    affect the search, so that an interrupted run is recognised; `versions` is canonical JSON of package
    versions, for provenance only. `protocol` is the device's. `uid` is made by the database when it is empty.
    """

    target_digest: str
    toolchain: str
    objective: Objective
    seed: int
    model_digest: str | None = None
    device: str = ""
    protocol: str = ""
    tuner_version: str = ""
    trials_budget: int = 0
    settings: str = "{}"
    versions: str = "{}"
    job: str | None = None
    uid: str = ""


def check_run(asked: NewRun) -> None:
    """RecordError when a run could be stored but not exchanged."""
    if asked.uid and not _UID.fullmatch(asked.uid):
        raise RecordError(f"run uid {asked.uid[:80]!r}: use up to 64 letters, digits and _.-")
    if asked.protocol and plain_name(asked.protocol) != asked.protocol:
        raise RecordError(f"protocol {asked.protocol[:80]!r} is not a plain name of up to 200 signs")
    if plain_name(asked.toolchain) != asked.toolchain or len(asked.toolchain) > 100:
        raise RecordError(
            f"toolchain version {asked.toolchain[:80]!r} is not a plain name of up to 100 signs"
        )
    for name, number in (("seed", asked.seed), ("budget", asked.trials_budget)):
        if not 0 <= number <= LARGEST_INTEGER:
            raise RecordError(f"{name} {number} must lie in 0 to 2**63 - 1")


@dataclass(frozen=True)
class RunRow:
    """A run as stored. `finished_at_s` and `stop_reason` are set once, when it ends."""

    asked: NewRun
    started_at_s: float
    finished_at_s: float | None
    stop_reason: str
    regret_estimate: float | None
    imported: bool
    hidden: bool

    @property
    def uid(self) -> str:
        """The name of the run in every database that holds it."""
        return self.asked.uid


@dataclass(frozen=True)
class Trial:
    """One finished measurement, ready to be recorded. Identified by (run, purpose, number, attempt).

    `default`: it is of the Config that runs without tuning, which an answer must not be slower than.
    """

    run: str
    number: int
    workload_digest: str
    space_digest: str
    config: Config
    measurement: Measurement
    seed: int = 0
    attempt: int = 0
    purpose: Purpose = Purpose.SEARCH
    bound_us: float | None = None
    verification: Verification = Verification.NONE
    default: bool = False

    def __post_init__(self) -> None:
        check_digest(self.space_digest, "space")
        if not (0 <= self.number <= LARGEST_INTEGER and 0 <= self.attempt < 2**31):
            raise RecordError(f"trial {self.number} attempt {self.attempt}: both count up from 0")
        if not 0 <= self.seed <= LARGEST_INTEGER:
            raise RecordError(f"trial {self.number} has seed {self.seed}; use 0 to 2**63 - 1")
        if self.bound_us is not None and not 0.0 <= self.bound_us < float("inf"):
            raise RecordError(f"trial {self.number} has bound {self.bound_us} us; it must be 0 or more")


@dataclass(frozen=True)
class TrialRow:
    """A Trial as stored: its key, when it was committed, and whether another database measured it.

    `protocol` is that of the run's device; empty in records from before devices said theirs.
    """

    key: Key
    trial: Trial
    created_at_s: float
    imported: bool
    protocol: str = ""


@dataclass(frozen=True)
class Best:
    """The answer for a key, derived from verified, confirmed trials above the bound, none behind the default.

    Latency and energy are medians over the confirmations, the peak is their largest; `run` and `number` name
    the first of them.
    """

    key: Key
    config: Config
    space_digest: str
    latency_us: float
    bound_us: float | None
    energy_uj: float | None
    peak_bytes: int | None
    latency_cycles: float | None
    verification: Verification
    confirmations: int
    run: str
    number: int

    @property
    def as_measured(self) -> Measurement:
        """Its figures, as one measurement has them."""
        return Measurement(
            Status.OK,
            self.latency_us,
            latency_cycles=self.latency_cycles,
            energy_uj=self.energy_uj,
            peak_bytes=self.peak_bytes,
        )


@dataclass(frozen=True)
class Effort:
    """The trials of one run on one workload, and its estimated distance from the optimum (0.02 = 2 %)."""

    workload_digest: str
    trials_budget: int
    regret_estimate: float | None = None


@dataclass(frozen=True)
class Ledger:
    """All that was spent on a key here: is it tuned enough? The estimate is the latest run's."""

    key: Key
    trials: int
    trials_budget: int
    runs: int
    tuner_version: str
    regret_estimate: float | None
    best: Best | None
