"""What a job asks for, as it rests in the database between the service that took it and its runner."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from typing import Any

from tilewright.compiler_core.digest import canonical_json
from tilewright.compiler_core.errors import TargetError, UsageError
from tilewright.compiler_core.target_model.file import list_targets, load_target, parse_target
from tilewright.compiler_core.target_model.target import Target


@dataclass(frozen=True)
class TuneRequest:
    """The arguments of a run that come over the network.

    `target` is the name of a preset or the text of a target file, never a path. Budgets are absent where the
    level's own is meant.
    """

    target: str
    model_name: str = "model"
    level: int = 2
    trials: int | None = None
    time_limit_s: float | None = None
    objective: str = "latency"
    dims: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

    @property
    def preset(self) -> bool:
        """Whether `target` is the name of a preset."""
        return self.target in list_targets()

    def load_target(self) -> Target:
        """The target asked for. TargetError names the first mistake of a text, or what else exists."""
        return target_of(self.target)

    def to_json(self) -> str:
        """Canonical JSON text; inverse of `read_request`."""
        return canonical_json({**asdict(self), "dims": dict(self.dims)})


@lru_cache(maxsize=64)
def target_of(name_or_text: str) -> Target:
    """A preset by name, or the target that a TOML text describes. Reads no file but the presets."""
    if "\n" in name_or_text or "=" in name_or_text:
        target, mistakes = parse_target(name_or_text)
        if target is None:
            more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
            raise TargetError(f"the target's text: {mistakes[0]}{more}")
        return target
    if name_or_text in list_targets():
        return load_target(name_or_text)
    raise TargetError(
        f"no target is called {name_or_text[:80]!r}; presets are {', '.join(list_targets())}; "
        "a chip of your own is given as the text of its TOML file"
    )


def read_request(text: str) -> TuneRequest:
    """The request in a job's row. UsageError when another version of the program wrote something else."""
    given: Any = json.loads(text)
    known = {each.name for each in fields(TuneRequest)}
    if not isinstance(given, dict) or not given.keys() <= known or "target" not in given:
        raise UsageError("this job's request was written by another version of tilewright; submit it again")
    return TuneRequest(**given)
