"""`tune completion`: a shell's completion of verbs and options."""

from typing import Annotated

import typer

from tilewright.api.cli.verbs import verb_app
from tilewright.compiler_core.errors import UsageError

app = verb_app()
SHELLS = ("bash", "zsh", "fish")


@app.command()
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the lines that let SHELL complete `tune`."""
    # Typer lends this out without declaring it exported.
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    if shell not in SHELLS:
        raise UsageError(f"no completion for {shell!r}; there is one for {', '.join(SHELLS)}")
    script = get_completion_script(prog_name="tune", complete_var="_TUNE_COMPLETE", shell=shell)
    typer.echo(script)
