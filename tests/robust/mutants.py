"""Mutants of the code that everything else relies on: would a test notice one wrong operator or constant?

    python -m tests.robust.mutants FILE[,FILE] TEST [TEST ...] [-k NAMED] [--of FUNCTION] [--most N]

One change to one function a mutant: a comparison, an arithmetic or boolean operator, min for max, a constant,
a negation, `any` for `all`, a dropped statement, a condition that is always or never true. The tests run once
unchanged, and it is noted which of them call which function. Then every mutant runs in a fork of the same
session, with the code of its function exchanged: the tests of that function, the fastest first, until one
fails. A mutant that takes more processor time than the patience is stopped, and counts as noticed. Each
survivor is a line of the output: file, line, what was changed.
"""

import argparse
import ast
import copy
import importlib
import inspect
import math
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).parents[2]
PATIENCE = 5.0
"""A mutant may take this many times the processor time of its tests, and two seconds."""
SLEEPS = 20.0
"""It may take this many times as long by the clock: processors are shared, but a mutant may wait for ever."""

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "and_": "or_", "or_": "and_"}


@dataclass(frozen=True)
class Mutant:
    """A function by its qualified name, its changed code, and the change for people."""

    module: str
    function: str
    line: int
    change: str
    code: CodeType

    def __str__(self) -> str:
        return f"{self.module.removeprefix('tilewright.')}:{self.line} {self.function}: {self.change}"


@dataclass
class Calls:
    """A pytest plugin: which tests call which functions, their processor time, then each mutant."""

    mutants: list[Mutant]
    tests_of: dict[tuple[str, str], set[pytest.Item]] = field(default_factory=dict)
    seconds: dict[pytest.Item, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.files = {_file_of(mutant) for mutant in self.mutants}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        began = time.process_time()

        def called(frame: FrameType, event: str, _: Any) -> None:
            if event == "call" and frame.f_code.co_filename in self.files:
                key = frame.f_code.co_filename, frame.f_code.co_qualname.partition(".<locals>")[0]
                self.tests_of.setdefault(key, set()).add(item)

        sys.setprofile(called)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            self.seconds[item] = time.process_time() - began

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        result = yield
        for mutant in self.mutants if not session.testsfailed else ():
            asked = self.tests_of.get((_file_of(mutant), mutant.function), set())
            tests = sorted(asked, key=lambda test: (self.seconds[test], test.nodeid))
            seconds = sum(self.seconds[test] for test in tests)
            found = verdict(mutant, tests, 2 + PATIENCE * seconds) if tests else "no test"
            self.counts[found] = self.counts.get(found, 0) + 1
            if found not in ("killed", "stopped"):
                print(f"{found}: {mutant}", flush=True)
        return result


def _file_of(mutant: Mutant) -> str:
    return str(sys.modules[mutant.module].__file__)


def changes_of(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Every change to one node: what it is, and the node to put in its place."""
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                for other in _COMPARISONS.get(type(op), ()):
                    yield from _with(node, ops=[*ops[:index], other(), *ops[index + 1 :]])
        case ast.BoolOp(op=op, values=values):
            yield from _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            for index in range(len(values)):
                yield from _with(node, values=[*values[:index], *values[index + 1 :]])
        case ast.BinOp(op=op) if type(op) in _OPERATORS:
            yield from _with(node, op=_OPERATORS[type(op)]())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"{_text(node)} -> {_text(operand)}", operand
        case ast.Constant(value=bool(value)):
            yield from _with(node, value=not value)
        case ast.Constant(value=int(value) | float(value)):
            yield from _with(node, value=value + 1)
        case ast.Name(id=name, ctx=ast.Load()) if name in _NAMES:
            yield from _with(node, id=_NAMES[name])
        case ast.If() | ast.IfExp() | ast.While():
            for always in (True, False):
                if always and isinstance(node, ast.While):
                    continue
                changed = copy.copy(node)
                changed.test = ast.Constant(always)
                yield f"if {_text(node.test)} -> {always}", changed
        case ast.Expr(value=ast.Call()) | ast.Assign() | ast.AugAssign() | ast.Raise():
            yield f"drop {_text(node)}", ast.Pass()
        case ast.Continue() | ast.Break():
            other_way = ast.Break() if isinstance(node, ast.Continue) else ast.Continue()
            yield f"{_text(node)} -> {_text(other_way)}", other_way
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield f"{_text(node)} -> None", ast.Return(ast.Constant(None))
        case _:
            pass


def _with(node: ast.AST, **fields: Any) -> Iterator[tuple[str, ast.AST]]:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    if isinstance(changed, ast.BoolOp) and len(changed.values) == 1:
        changed = changed.values[0]
    yield f"{_text(node)} -> {_text(changed)}", changed


def _text(node: ast.AST) -> str:
    text = ast.unparse(node).partition("\n")[0]
    return text if len(text) <= 90 else text[:87] + "..."


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Every mutant of the functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = ".".join(["tilewright", *path.resolve().relative_to(ROOT).with_suffix("").parts])
    loaded = importlib.import_module(module)
    assert loaded.__file__ is not None
    for function, scope in _functions(tree, ""):
        for parent in ast.walk(function):
            if parent is not function and isinstance(parent, ast.arguments):
                continue
            for name, value in ast.iter_fields(parent):
                if parent is function and name != "body":
                    continue
                for index, child in enumerate(value if isinstance(value, list) else [value]):
                    if not isinstance(child, ast.AST) or _only_for_readers(parent, name):
                        continue
                    for change, other in changes_of(child):
                        ast.copy_location(other, child)
                        _put(parent, name, index, other)
                        code = _code_of(tree, loaded.__file__, scope)
                        _put(parent, name, index, child)
                        yield Mutant(module, scope, getattr(child, "lineno", 0), change, code)


def _only_for_readers(parent: ast.AST, name: str) -> bool:
    """Whether a field is an annotation or the text of a message: no mutant worth a test."""
    told = isinstance(parent, ast.JoinedStr | ast.Raise)
    strict = isinstance(parent, ast.keyword) and parent.arg == "strict"
    return told or strict or name in ("annotation", "returns", "decorator_list")


def _put(parent: ast.AST, name: str, index: int, node: ast.AST) -> None:
    value = getattr(parent, name)
    if isinstance(value, list):
        value[index] = node
    else:
        setattr(parent, name, node)


def _functions(node: ast.AST, scope: str) -> Iterator[tuple[ast.FunctionDef, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield child, scope + child.name
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{scope}{child.name}.")


def _code_of(tree: ast.Module, file: str, scope: str) -> CodeType:
    pending = [compile(ast.fix_missing_locations(tree), file, "exec")]
    while pending:
        code = pending.pop()
        if code.co_qualname == scope:
            return code
        pending += [const for const in code.co_consts if isinstance(const, CodeType)]
    raise LookupError(scope)


def put_in(mutant: Mutant) -> bool:
    """Exchange the code of the mutant's function; False where it is out of reach or has another closure."""
    found: Any = sys.modules[mutant.module]
    for part in mutant.function.split("."):
        found = inspect.getattr_static(found, part, None)
        if isinstance(found, property):
            found = found.fget
        for attribute in ("func", "__func__", "py_func"):
            found = getattr(found, attribute, found)
    found = inspect.unwrap(found) if callable(found) else found
    if not isinstance(found, FunctionType):
        return False
    try:
        found.__code__ = mutant.code
    except ValueError:
        return False
    return True


def verdict(mutant: Mutant, tests: list[pytest.Item], limit_s: float) -> str:
    """`killed`, `stopped`, `survived`, or `out of reach`; the mutant runs in a fork of this process."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit_s), math.ceil(limit_s) + 1))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        code = 1
        try:
            code = _run(mutant, tests)
        finally:
            os._exit(code)
    ends = time.monotonic() + limit_s * SLEEPS
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return _VERDICTS.get(os.WEXITSTATUS(status), "killed") if os.WIFEXITED(status) else "stopped"
        time.sleep(0.002)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "stopped"


_VERDICTS = {0: "survived", 98: "out of reach"}


def _run(mutant: Mutant, tests: list[pytest.Item]) -> int:
    """The exit code of a fork, in the terms of `_VERDICTS`."""
    if not put_in(mutant):
        return 98
    for test, following in zip(tests, [*tests[1:], None], strict=True):
        if isinstance(test, pytest.Function):
            test._initrequest()
        if any(report.failed for report in runtestprotocol(test, log=False, nextitem=following)):
            return 1
    return 0


def main() -> int:
    """Print every mutant that is not killed, then the counts."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("files", help="files of the product, with commas between them")
    parser.add_argument("tests", nargs="+", help="as pytest takes them")
    parser.add_argument("-k", dest="named", default="", help="an expression of pytest: the tests to run")
    parser.add_argument("--of", default="", help="only mutants of functions with this in their names")
    parser.add_argument("--most", type=int, default=0, help="so many mutants, drawn at random; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    paths = [ROOT / name for name in asked.files.split(",")]
    mutants = [mutant for path in paths for mutant in mutants_of(path)]
    everything = len(mutants)
    mutants = [mutant for mutant in mutants if asked.of in mutant.function]
    if asked.most and asked.most < len(mutants):
        mutants = random.Random(asked.seed).sample(mutants, asked.most)
    calls = Calls(sorted(mutants, key=lambda mutant: (mutant.module, mutant.line)))
    if code := pytest.main(
        ["-q", "-s", "-p", "no:cacheprovider", "-k", asked.named, *asked.tests], plugins=[calls]
    ):
        print("the tests fail without a mutant")
        return int(code)
    print(f"{everything} mutants of {asked.files}, {len(mutants)} tried: {calls.counts}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
