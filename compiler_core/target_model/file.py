"""Target files: TOML in, a Target out, and every mistake explained by key and line.

The shape of a file is the shape of the Target dataclasses: a table per part, an array of tables per tuple of
parts, a table of entries per tuple of pairs. The allowed values of a key come from their annotations, here
and in the JSON Schema, so there is one description of the format.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from tilewright.compiler_core.errors import TargetError
from tilewright.compiler_core.files.inputs import open_regular
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.target_model.host import HOST, host_file
from tilewright.compiler_core.target_model.lines import lines_of
from tilewright.compiler_core.target_model.plausible import doubts_about
from tilewright.compiler_core.target_model.rules import broken_rules
from tilewright.compiler_core.target_model.target import UNIT_KINDS, Range, Target

PRESETS = Path(__file__).parents[1] / "targets"
KINDS = UNIT_KINDS
LARGEST_FILE_BYTES = 1 << 16
MOST_KEY_PARTS, DEEPEST = 32, 32
"""Of a dotted key, and of arrays and tables in each other: tomllib takes time by their square."""


@dataclass(frozen=True)
class Mistake:
    """A mistake in a file, by key; `line` counts from 1, and is 0 where the key is missing."""

    key: str
    line: int
    reason: str

    def __str__(self) -> str:
        return (
            f"{f'line {self.line}: ' if self.line else ''}{f'{self.key}: ' if self.key else ''}{self.reason}"
        )


def list_targets() -> tuple[str, ...]:
    """Names of the presets, sorted."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.toml")))


def load_target(name_or_path: str | Path) -> Target:
    """A preset by name, or a file by path. TargetError names the mistake, its place, and the presets that
    exist.
    """
    path = _locate(str(name_or_path))
    target, mistakes = parse_target(_read(path))
    if target is None:
        more = f" (and {len(mistakes) - 1} more: tune targets check {path})" if len(mistakes) > 1 else ""
        raise TargetError(f"target file {path}: {mistakes[0]}{more}")
    return target


def target_text(name_or_path: str | Path) -> str:
    """The TOML text of a preset or a file."""
    return _read(_locate(str(name_or_path)))


def check_target_file(path: str | Path) -> tuple[Target | None, tuple[Mistake, ...]]:
    """Everything that is wrong in a file; TargetError only where there is no file to read."""
    return parse_target(_read(_locate(str(path))))


def doubts_of(text: str) -> tuple[Mistake, ...]:
    """Legal but unlikely numbers of a file, by line; nothing if it is no target."""
    target, _ = parse_target(text)
    reader = _Reader(lines_of(text))
    for key, reason in () if target is None else doubts_about(target):
        reader.complain(key, reason)
    if target is not None and target.name in list_targets() and target != load_target(target.name):
        reader.complain(
            "name", f"is {target.name!r}, a preset with other numbers; give your chip its own name"
        )
    return tuple(sorted(reader.mistakes, key=lambda doubt: (doubt.line, doubt.key)))


@lru_cache(maxsize=64)
def parse_target(text: str) -> tuple[Target | None, tuple[Mistake, ...]]:
    """The Target that `text` describes, or None and the mistakes in it, in the order of their lines."""
    if objection := _too_much(text):
        return None, (objection,)
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or a number with thousands of digits
        # tomllib puts the place at the end of its message: "... (at line 3, column 9)".
        place = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        reason = str(error)[: place.start()] if place else str(error)
        return None, (Mistake("", int(place[1]) if place else 0, f"not valid TOML: {reason}"),)
    reader = _Reader(lines_of(text))
    target = reader.part(Target, table, "")
    if not reader.mistakes:
        for key, reason in broken_rules(target):
            reader.complain(key, reason)
    mistakes = tuple(sorted(reader.mistakes, key=lambda mistake: (mistake.line or 10**9, mistake.key)))
    return (None, mistakes) if mistakes else (target, ())


def target_from_text(text: str) -> Target:
    """The target that a TOML text describes; TargetError names the first mistake."""
    target, mistakes = parse_target(text)
    if target is None:
        more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        raise TargetError(f"the target's text: {mistakes[0]}{more}")
    return target


def _too_much(text: str) -> Mistake | None:
    """Why a text is too large to be parsed."""
    if len(text) > LARGEST_FILE_BYTES:
        return Mistake("", 0, f"larger than {LARGEST_FILE_BYTES} bytes; is it a target file?")
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        parts = max(part.count(".") for part in re.split(r"[,=\[\]{}#]", line)) + 1
        if parts > MOST_KEY_PARTS:
            return Mistake("", number, f"a key of {parts} parts; no key of a target has more than a few")
        for sign in re.findall(r"[\[\]{}]", line):
            depth += 1 if sign in "[{" else -1
            if depth > DEEPEST:
                return Mistake("", number, f"arrays or tables nested deeper than {DEEPEST}")
    return None


def _locate(name: str) -> Path:
    if name in list_targets():
        return PRESETS / f"{name}.toml"
    if name == HOST:
        if host_file().is_file():
            return host_file()
        raise TargetError("this CPU was not measured yet; do so with: tune targets detect")
    if name.endswith(".toml") or "/" in name:
        return Path(name)
    if os.path.isdir(name):  # unlike Path.is_dir, it takes names that are too long for a path
        raise TargetError(
            f"target {name!r} is a folder; give the name of a preset, or the path of a TOML file"
        )
    near = get_close_matches(name, list_targets(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"presets are {', '.join(list_targets())}"
    raise TargetError(f"no target is called {name!r}; {hint} (a file of your own is given as PATH.toml)")


def _read(path: Path) -> str:
    try:
        with open_regular(path) as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
        if len(data) > LARGEST_FILE_BYTES:
            raise TargetError(
                f"target file {path}: larger than {LARGEST_FILE_BYTES} bytes; is it a target file?"
            )
        return data.decode("utf-8")
    except OSError as error:
        raise TargetError(
            f"target file {path}: {error.strerror}; give a preset's name or a TOML file"
        ) from None
    except UnicodeDecodeError as error:
        raise TargetError(
            f"target file {path} is no text: byte {error.start} is not UTF-8; give a TOML file saved as UTF-8"
        ) from None


class _Reader:
    """Turns tables into dataclasses by their annotations, collecting mistakes instead of stopping at one."""

    def __init__(self, lines: Mapping[str, int]) -> None:
        self.lines = lines
        self.mistakes: list[Mistake] = []

    def complain(self, key: str, reason: str) -> None:
        """Note a mistake at `key`, on its line or that of the table around it."""
        place = key
        while place and place not in self.lines:
            place = place.rpartition(".")[0]
        self.mistakes.append(Mistake(key, self.lines.get(place, 0), reason))

    def value(self, kind: Any, given: Any, key: str) -> Any:
        """`given` as `kind`; None with a mistake noted where it is not one."""
        if isinstance(kind, UnionType):
            return self._matrix(given, key)
        if is_dataclass(kind):
            return self.part(kind, given, key)
        if get_origin(kind) is tuple:
            return self._many(get_args(kind)[0], given, key)
        if get_origin(kind) is Annotated:
            number, limits = get_args(kind)
            return self._number(number, limits, given, key)
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            if given in choices(kind):
                return kind(given)
            return self.complain(key, f"is {given!r}; choose from {', '.join(choices(kind))}")
        if type(given) is kind:
            return given
        return self.complain(key, f"is {given!r}; give {WORDS[kind]}")

    def part(self, kind: Any, given: Any, key: str) -> Any:
        """A table as the dataclass `kind`."""
        if not isinstance(given, dict):
            return self.complain(key, f"is {given!r}; make it a table")
        hints = get_type_hints(kind, include_extras=True)
        named = {field.name: field for field in fields(kind)}
        stem = f"{key}." if key else ""
        for unknown in sorted(given.keys() - named.keys()):
            near = get_close_matches(unknown, list(named), n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(named)}"
            self.complain(f"{stem}{unknown}", f"is not known here; {hint}")
        values: dict[str, Any] = {}
        for name, field in named.items():
            if name in given:
                values[name] = self.value(hints[name], given[name], f"{stem}{name}")
            elif required(field):
                self.complain(f"{stem}{name}", f"is missing; give {describe(hints[name])}")
        return kind(**values) if len(values) == len(given) and not self.mistakes else None

    def _matrix(self, given: Any, key: str) -> Any:
        said = given.get("kind") if isinstance(given, dict) else given
        if not isinstance(given, dict) or said not in list(KINDS):
            return self.complain(f"{key}.kind", f"is {said!r}; choose from {', '.join(KINDS)}")
        rest = {name: value for name, value in given.items() if name != "kind"}
        return self.part(KINDS[given["kind"]], rest, key)

    def _many(self, item: Any, given: Any, key: str) -> Any:
        if get_origin(item) is tuple:
            left, right = get_args(item)
            if not isinstance(given, dict):
                return self.complain(key, f"is {given!r}; make it a table [{key}] of name = value")
            pairs = [
                (self.value(left, n, f"{key}.{n}"), self.value(right, v, f"{key}.{n}"))
                for n, v in given.items()
            ]
            # Only the table of dtypes means something by its order: preference.
            return tuple(pairs) if key == "dtypes" or self.mistakes else tuple(sorted(pairs))
        if not isinstance(given, list):
            return self.complain(key, f"is {given!r}; make it a list")
        return tuple(self.value(item, entry, f"{key}.{index}") for index, entry in enumerate(given))

    def _number(self, kind: Any, limits: Range, given: Any, key: str) -> Any:
        fits = type(given) is int or (kind is float and type(given) is float)
        if not fits or not limits.low <= given <= limits.high:
            return self.complain(key, f"is {given!r}; give {describe(Annotated[kind, limits])}")
        return kind(given)


WORDS = {str: "text in quotes", bool: "true or false", int: "a whole number", float: "a number"}


def required(field: "Field[Any]") -> bool:
    """Whether a file must name this key."""
    return field.default is MISSING


def choices(kind: type[StrEnum]) -> tuple[str, ...]:
    """The dtypes that a file may name; partial sums are not among them."""
    return tuple(str(member) for member in kind if member is not DType.F32_SUM)


def describe(kind: Any) -> str:
    """The allowed values of a key, for people."""
    if get_origin(kind) is Annotated:
        number, limits = get_args(kind)
        low, high = (f"{limit:.0f}" if number is int else f"{limit:g}" for limit in (limits.low, limits.high))
        return f"{WORDS[number]} from {low} to {high}"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return f"one of {', '.join(choices(kind))}"
    if get_origin(kind) is tuple:
        return "a table of name = value" if get_origin(get_args(kind)[0]) is tuple else "a list"
    if isinstance(kind, UnionType):
        return f"a table of kind = {', '.join(KINDS)}"
    if is_dataclass(kind):
        return f"a table of {', '.join(field.name for field in fields(kind) if required(field))}"
    return WORDS.get(kind, "a table")
