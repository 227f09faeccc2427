"""Which CPU this is, and where the target file is kept that was measured on it."""

import hashlib
import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

FORMAT = "2"
"""Version of the kept file; a file of another version is measured anew."""
HOST = "host"
"""The name of the target that is this CPU."""


@cache
def identity() -> str:
    """The facts that decide about machine code here: family, model, stepping, features, caches, LLVM."""
    said: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            said.setdefault(key.strip(), value.strip())
    except OSError:
        said = {}
    named = ("vendor_id", "cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU revision")
    words = [platform.machine(), *(f"{name} {said[name]}" for name in named if name in said)]
    features = said.get("flags") or said.get("Features") or ""
    words.append(f"features {_short(' '.join(sorted(features.split())))}")
    words.append("caches " + " ".join(f"L{level} {kib} KiB" for level, kib in caches()))
    words.append(f"llvmlite {version('llvmlite')}")
    return ", ".join(words)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def caches() -> list[tuple[int, int]]:
    """Level and KiB of the data caches that a core sees, innermost first."""
    found: dict[int, int] = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind = (index / "type").read_text().strip()
            level, size = int((index / "level").read_text()), (index / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        if kind in ("Data", "Unified") and size[:-1].isdigit():
            found[level] = int(size[:-1]) * {"K": 1, "M": 1024}.get(size[-1], 1)
    return sorted(found.items())


def host_file() -> Path:
    """The path of the target file of this CPU."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "tilewright" / f"host-{FORMAT}-{_short(identity())}.toml"
