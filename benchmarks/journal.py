"""Rows of a bench in a file as they come, one JSON object a line, so that a broken run resumes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.toolchain import TOOLCHAIN

Row = dict[str, Any]
KEY = ("model", "target", "target_digest", "seed")


class Journal:
    """The rows of `path` that the same toolchain made under the same `settings`; without a path, none.

    Rows are told apart by their fields `key`.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any], key: Sequence[str] = KEY) -> None:
        self._path = path
        self._key = tuple(key)
        self._settings = {**settings, "toolchain": TOOLCHAIN}
        self._rows: dict[tuple[Any, ...], Row] = {}
        if path is None or not path.exists():
            return
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                if entry["settings"] == self._settings:
                    self._rows[self._place(entry["row"])] = entry["row"]
            except (ValueError, KeyError, TypeError):
                # The line at which a run broke.
                continue

    def row(self, key: Mapping[str, Any]) -> Row | None:
        """The row with this key, if it is there."""
        return self._rows.get(self._place(key))

    def add(self, row: Row) -> None:
        """Write a row down before anyone sees it; UsageError where the file cannot be written."""
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                # A line of its own, also behind one that broke off.
                file.write("\n" + json.dumps({"settings": self._settings, "row": row}))
        except OSError as error:
            raise UsageError(f"cannot write {self._path}: {error.strerror}") from None

    def _place(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._key)
