"""The shared part of `tune compile` and `tune build`: a Program that answers, or a refusal; and its lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tilewright.api.cli.options import guessed_share, read_dims, read_inputs, read_required

if TYPE_CHECKING:
    from tilewright.tuner.verbs.answers import CompiledNetwork, NetworkAnswer

MISSED = 3


@dataclass(frozen=True)
class AskedProgram:
    """The options that say which Program is wanted, as they were given."""

    model: Path
    target: str
    objective: str
    dim: list[str] | None
    given: list[str] | None
    require: str | None
    toolchain: str | None
    frozen: Path | None
    fallback: str | None
    database: str


def program_for(verb: str, asked: AskedProgram, output: Path, aside: bool) -> "CompiledNetwork | None":
    """The Program that answers, after a line on each thing that is less than a measured answer: on standard
    error where it is `aside`. None, and the reason on standard error, where it is not what is required.
    """
    from tilewright.api.cli.main import complain
    from tilewright.tuner.verbs.lookup import compile_known

    required = read_required(asked.require)
    compiled = compile_known(
        asked.model,
        asked.target,
        objective=asked.objective,
        dims=read_dims(asked.dim),
        inputs=read_inputs(asked.given),
        database=asked.database,
        toolchain=asked.toolchain,
        frozen=asked.frozen,
        fallback=asked.fallback,
    )
    lacking = compiled.lacks(required)
    if lacking:
        complain(f"tune {verb}: {lacking}; {output} was not written", exit_code=MISSED)
        return None
    for line in told_of(compiled):
        typer.echo(line, err=aside)
    return compiled


def told_of(compiled: "CompiledNetwork") -> Iterator[str]:
    """A line on each thing that a user should know of a Program before it is used."""
    from tilewright.db.layers.opening import OWN
    from tilewright.db.layers.settings import BANK

    guessed = sum(compiled.guesses.values())
    if guessed:
        yield guessed_share(guessed, compiled.calls)
    if compiled.retired:
        yield f"retired: {compiled.retired}"
    if compiled.imported:
        yield f"network: {compiled.imported}"
    if compiled.reason:
        yield f"range: miss; {compiled.reason}"
    if compiled.selected is not None:
        yield f"range: {compiled.selected}"
    others = [name for name in compiled.layers if name not in ("", OWN, BANK)]
    yield from (f"layer: {name} answers" for name in others)
    yield from (f"layer: {line}" for line in layer_lines(compiled.layers, compiled.troubles))


def layer_lines(answering: tuple[str, ...], troubles: tuple[str, ...]) -> Iterator[str]:
    """A line on each layer that could not be asked, and on the bank where it answered."""
    from tilewright.db.layers.bank import bank_head
    from tilewright.db.layers.settings import BANK

    yield from troubles
    if BANK in answering:
        yield str(bank_head())


def layers_of(answer: "NetworkAnswer") -> tuple[str, ...]:
    """The layers that answered a lookup, for the whole or for kernels."""
    return tuple(dict.fromkeys((answer.layer, *(kernel.layer for kernel in answer.kernels))))
