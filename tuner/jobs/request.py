"""A TuneRequest as the database keeps it, between the service that takes it and the runner.

Only fields that may come over the network are kept: no device, no lab, no sampler, no database. `target` is
the name of a preset or the text of a target file, never a path.
"""

import json
from pathlib import Path
from typing import Any

from tilewright.compiler_core.digest import canonical_json
from tilewright.compiler_core.errors import TargetError, UsageError
from tilewright.compiler_core.target_model.file import list_targets, load_target, target_from_text
from tilewright.compiler_core.target_model.target import Target
from tilewright.db.service.queue import CPU
from tilewright.measure.objectives import Objective
from tilewright.tuner.kernel.candidates import candidates_of
from tilewright.tuner.request import TuneRequest, objectives_of

OTHER_VERSION = "this job's request was written by another version of tilewright; submit it again"
KEPT = ("level", "trials", "time_limit_s", "seed")


def request_to_json(request: TuneRequest) -> str:
    """Canonical JSON text; inverse of `read_request`."""
    return canonical_json(
        {
            **({"inputs": dict(request.inputs)} if request.inputs else {}),
            **({"candidates": [each.to_json() for each in request.candidates]} if request.candidates else {}),
            **({"regret": request.regret} if request.regret is not None else {}),
            **{name: getattr(request, name) for name in KEPT},
            "model_name": request.model.stem,
            "target": str(request.target),
            "objectives": list(request.objectives),
            "dims": dict(request.dims),
            "ranges": {name: list(ends) for name, ends in request.ranges.items()},
        }
    )


def read_request(text: str) -> TuneRequest:
    """The request in a job's row. UsageError when another version of the program wrote something else."""
    given: Any = json.loads(text)
    try:
        named = given.pop("objectives", None)
        objectives = map(Objective, named) if named else objectives_of(given.pop("objective"))
        request = TuneRequest(
            model=Path(f"{given.pop('model_name')}.onnx"),
            target=given.pop("target"),
            objectives=tuple(objectives),
            dims=given.pop("dims"),
            ranges={name: (low, high) for name, (low, high) in given.pop("ranges", {}).items()},
            inputs=given.pop("inputs", {}),
            candidates=candidates_of(given.pop("candidates")) if "candidates" in given else (),
            regret=given.pop("regret", None),
            **{name: given.pop(name) for name in KEPT},
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UsageError(OTHER_VERSION) from None
    if given:
        raise UsageError(OTHER_VERSION)
    return request


def name_of(target: Target) -> str:
    """The name of a job's target: for a CPU its digest, so that the right runner takes the job."""
    return f"{CPU}{target.digest[:16]}" if target.identity else target.name


def is_preset(request: TuneRequest) -> bool:
    """Whether the target is the name of a preset."""
    return request.target in list_targets()


def is_text(name_or_text: str) -> bool:
    """Whether this is the text of a target file rather than a name."""
    return "\n" in name_or_text or "=" in name_or_text


def target_of(name_or_text: str) -> Target:
    """A preset by name, or the target that a TOML text describes. Reads no file but the presets."""
    if is_text(name_or_text):
        return target_from_text(name_or_text)
    if name_or_text in list_targets():
        return load_target(name_or_text)
    raise TargetError(
        f"no target is called {name_or_text[:80]!r}; presets are {', '.join(list_targets())}; "
        "a chip of your own is given as the text of its TOML file"
    )
