"""The target file of this CPU, measured when it is first asked for."""

import os
from pathlib import Path

from tilewright.compiler_core.target_model.host import host_file


def ensure_host() -> Path:
    """The path of the target file of this CPU, which is measured now if it does not exist. Loads LLVM only
    then.
    """
    path = host_file()
    if not path.is_file():
        from tilewright.measure.host.detect import host_text

        write_host_file(host_text(), path)
    return path


def write_host_file(text: str, path: Path) -> None:
    """Put a target file where it belongs, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}")
    half.write_text(text, encoding="utf-8")
    half.replace(path)
