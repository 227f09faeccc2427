"""Configs that a person or another program wants measured first.

A file holds a JSON list of Configs as maps of knobs to values, or of objects with a `config` and the
`workload_digest`, or its beginning, of the one kernel that it is for; the kernels of `tune run --json` are
such objects, and that whole document will do. A Config without a kernel is tried wherever its knobs fit.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import ConfigError, UsageError
from tilewright.compiler_core.files.inputs import open_regular
from tilewright.search_space.knobs import Config
from tilewright.search_space.space import Space

MOST = 1000
"""The most Configs that may be given."""
_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Candidate:
    """A Config, and the digest (or its beginning) of the kernel that it is for; without one, any."""

    config: Config
    workload: str = ""

    def fits(self, digest: str, space: Space) -> bool:
        """Whether it may be asked of the kernel with that digest."""
        return digest.startswith(self.workload) and space.contains(self.config)

    def to_json(self) -> dict[str, Any]:
        """Inverse of `candidates_of`, for one."""
        return {"config": dict(self.config.items), "workload_digest": self.workload}


def read_candidates(path: Path | None) -> tuple[Candidate, ...]:
    """The Candidates in a file, none without one; UsageError names the file, the entry and the mistake."""
    if path is None:
        return ()
    try:
        with open_regular(path) as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise UsageError(f"--try {path.name} is larger than {_MAX_BYTES >> 20} MiB")
        given = json.loads(text.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--try {path.name} cannot be read as JSON: {error}") from None
    try:
        return candidates_of(given["kernels"] if isinstance(given, dict) and "kernels" in given else given)
    except ConfigError as error:
        raise UsageError(f"--try {path.name}: {error}") from None


def candidates_of(entries: Any) -> tuple[Candidate, ...]:
    """From a list of knob maps, or of objects as `to_json` makes them; ConfigError names the entry."""
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not len(entries):
        raise ConfigError("candidates are a list of Configs, each an object of knobs and values")
    if len(entries) > MOST:
        raise ConfigError(f"{len(entries)} candidates are more than the limit of {MOST}")
    return tuple(dict.fromkeys(_candidate(number, entry) for number, entry in enumerate(entries, 1)))


def _candidate(number: int, entry: Any) -> Candidate:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"candidate {number} is no object of knobs and values")
    knobs, workload = entry, ""
    if isinstance(entry.get("config"), Mapping):
        knobs, workload = entry["config"], entry.get("workload_digest") or ""
    if not isinstance(workload, str) or not set(workload) <= set("0123456789abcdef") or len(workload) > 64:
        raise ConfigError(f"candidate {number} has a workload_digest that is no digest")
    for name, value in knobs.items():
        if not isinstance(value, bool | int | float | str):
            raise ConfigError(f"candidate {number}: knob {str(name)[:40]!r} has no plain value")
    return Candidate(Config(tuple((str(name), value) for name, value in knobs.items())), workload)


def fitting(candidates: Iterable[Candidate], digest: str, space: Space) -> tuple[Config, ...]:
    """The Configs to ask first of one kernel, in their order."""
    return tuple(dict.fromkeys(each.config for each in candidates if each.fits(digest, space)))
