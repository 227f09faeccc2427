"""Whether this CPU can run a library: its architecture and the features that Linux lists."""

import platform
from collections.abc import Iterable
from pathlib import Path

from tilewright.runtime.errors import LibraryError

CPUINFO = Path("/proc/cpuinfo")
SHOWN = 8


def require_cpu(architecture: str, features: Iterable[str]) -> None:
    """LibraryError where this CPU cannot run code of `architecture` that uses `features`."""
    if platform.machine() != architecture:
        raise LibraryError(
            f"the library is for {architecture}, and this CPU is {platform.machine()}; build it for this one"
        )
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise LibraryError(f"{CPUINFO} does not tell what this CPU has: {error.strerror}") from None
    told = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    missing = sorted(set(features) - set(told.partition(":")[2].split()))
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise LibraryError(
            f"this CPU lacks {', '.join(missing[:SHOWN])}{more}, which the library uses;"
            " build it on a CPU like this one"
        )
