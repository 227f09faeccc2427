"""`tune warm`: fills numba's cache, so that the first run does not wait for compilers."""

from tilewright.api.cli.options import JsonFile, answer
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def warm(json_file: JsonFile = None) -> None:
    """Compile the simulator's timeline and all other numba code ahead of its first use."""
    from tilewright.tuner.verbs.warm import warm as compile_ahead

    tried = compile_ahead()
    answer(f"compiled ahead: {tried}", {"tried": tried}, json_file)
