"""Tilewright tunes neural networks for AI accelerators, and keeps the answers in a database.

    import tilewright as tw

    report = tw.tune("model.onnx", target="ascend910", trials=512)
    print(report.tuned.latency_us, report.speedup)
    tw.lookup("model.onnx", target="ascend910").complete
    tw.report("model.onnx", target="ascend910").save("report.html")

The functions are those that the `tune` command calls. Each is loaded when it is first used, so that the
import itself costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__: str

if TYPE_CHECKING:
    from tilewright.api.client import Client
    from tilewright.api.pages.html_report import HtmlReport, report
    from tilewright.compiler_core.errors import (
        CheckError,
        ConfigError,
        DeviceError,
        InputError,
        ModelError,
        NotLockedError,
        RecordError,
        TargetError,
        TilewrightError,
        UsageError,
        VerifyError,
    )
    from tilewright.compiler_core.target_model.file import load_target
    from tilewright.compiler_core.target_model.target import Target
    from tilewright.db.exchange.lock_file import Lock
    from tilewright.tuner.answer.report import Report
    from tilewright.tuner.codesign.sweep import Sweep, sweep
    from tilewright.tuner.explain.explain import Explanation, explain
    from tilewright.tuner.request import Hooks, PoolChoice, TuneRequest
    from tilewright.tuner.run import run
    from tilewright.tuner.verbs.answers import CompiledNetwork, NetworkAnswer
    from tilewright.tuner.verbs.build import Built, build
    from tilewright.tuner.verbs.lock import lock
    from tilewright.tuner.verbs.lookup import compile_known as compile
    from tilewright.tuner.verbs.lookup import lookup
    from tilewright.tuner.verbs.plan import MemoryPlan, plan
    from tilewright.tuner.verbs.profile import Profile, profile
    from tilewright.tuner.verbs.ranges import RangeReport
    from tilewright.tuner.verbs.tune import tune, tune_range
    from tilewright.tuner.verbs.verify import Verdict, verify

__all__ = [
    "Built",
    "CheckError",
    "Client",
    "CompiledNetwork",
    "ConfigError",
    "DeviceError",
    "Explanation",
    "Hooks",
    "HtmlReport",
    "InputError",
    "Lock",
    "MemoryPlan",
    "ModelError",
    "NetworkAnswer",
    "NotLockedError",
    "PoolChoice",
    "Profile",
    "RangeReport",
    "RecordError",
    "Report",
    "Sweep",
    "Target",
    "TargetError",
    "TilewrightError",
    "TuneRequest",
    "UsageError",
    "Verdict",
    "VerifyError",
    "build",
    "compile",
    "explain",
    "load_target",
    "lock",
    "lookup",
    "plan",
    "profile",
    "report",
    "run",
    "sweep",
    "tune",
    "tune_range",
    "verify",
]

_ROOMS = {
    "api.client": ("Client",),
    "api.pages.html_report": ("HtmlReport", "report"),
    "compiler_core.target_model.file": ("load_target",),
    "compiler_core.target_model.target": ("Target",),
    "db.exchange.lock_file": ("Lock",),
    "tuner.answer.report": ("Report",),
    "tuner.codesign.sweep": ("Sweep", "sweep"),
    "tuner.explain.explain": ("Explanation", "explain"),
    "tuner.verbs.build": ("Built", "build"),
    "tuner.request": ("Hooks", "PoolChoice", "TuneRequest"),
    "tuner.run": ("run",),
    "tuner.verbs.answers": ("CompiledNetwork", "NetworkAnswer"),
    "tuner.verbs.lock": ("lock",),
    "tuner.verbs.lookup": ("lookup",),
    "tuner.verbs.plan": ("MemoryPlan", "plan"),
    "tuner.verbs.profile": ("Profile", "profile"),
    "tuner.verbs.ranges": ("RangeReport",),
    "tuner.verbs.tune": ("tune", "tune_range"),
    "tuner.verbs.verify": ("Verdict", "verify"),
}
_HOME = {name: (room, name) for room, names in _ROOMS.items() for name in names}
_HOME["compile"] = ("tuner.verbs.lookup", "compile_known")


def __getattr__(name: str) -> Any:
    """A public name, loaded on first use; `__version__` is that of the installed package."""
    if name == "__version__":
        return import_module("importlib.metadata").version("tilewright")
    if name not in __all__:
        raise AttributeError(f"module 'tilewright' has no attribute {name!r}")
    room, attribute = _HOME.get(name, ("compiler_core.errors", name))
    value = getattr(import_module(f"tilewright.{room}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
