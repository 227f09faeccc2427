"""`tune warm`: fills numba's cache, so that the first run does not wait for compilers."""

import typer

from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def warm() -> None:
    """Compile the simulator's timeline and what else is compiled at first use."""
    from tilewright.tuner.verbs.warm import warm as compile_ahead

    typer.echo(f"compiled ahead: {compile_ahead()}")
