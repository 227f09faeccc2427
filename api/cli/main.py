"""The way into `tune`: loads the one verb that was asked for, and turns errors into exit codes.

Exit codes: 0 done; 1 a check failed, or nothing could be measured; 2 bad input or usage; 3 a lookup
missed; 130 interrupted. Errors on purpose are one line on stderr; any other is a bug and shows its trace.
"""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.main import get_command, get_group

from tilewright.api.cli.verbs import VERBS, verb_app
from tilewright.compiler_core.errors import InputError, TilewrightError

INTERRUPTED = 130
"""The exit code that shells know an interrupt by."""


class LazyVerb(TyperCommand):
    """Stands in for a verb in the table of `tune --help`; the module is imported when the verb is used."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command, so that it is the real one that runs or shows its help."""
        real = get_command(import_module(f"tilewright.api.cli.{self.name}").app)
        return real.make_context(info_name, args, parent, **extra)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `tune` on `arguments` (the process's own by default) and return its exit code."""
    # The matrices here are small, and the other cores belong to the workers: a second BLAS thread only spins.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    app = verb_app()
    app.callback(context_settings={"help_option_names": ["-h", "--help"]})(tune)
    command = get_group(app)
    for verb, help_line in VERBS.items():
        command.commands[verb] = LazyVerb(name=verb, callback=None, help=help_line, rich_markup_mode=None)
    try:
        answer = command.main(args=arguments, prog_name="tune", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        place = context.command_path if context else "tune"
        return complain(f"{place}: {error.format_message()} (see {place} --help)", exit_code=2)
    except InputError as error:
        return complain(f"tune: {error}", exit_code=2)
    except TilewrightError as error:
        return complain(f"tune: {error}", exit_code=1)
    except KeyboardInterrupt:
        answer = INTERRUPTED
    except MemoryError as error:
        return complain(f"tune: this needs more memory than there is: {error}", exit_code=2)
    except typer.Abort:
        return complain("tune: no answer on standard input", exit_code=2)
    if answer == INTERRUPTED:  # typer's own answer to Ctrl-C, too
        return complain("interrupted: run the same line again to go on", exit_code=INTERRUPTED)
    return answer if isinstance(answer, int) else 0


def print_version(wanted: bool) -> None:
    """Print the installed version and exit, when it is `wanted`."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tilewright {version('tilewright')}")
        raise typer.Exit


def tune(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Tune neural networks for AI accelerators, and look up what has been tuned before."""


def complain(message: str, *, exit_code: int) -> int:
    """Print `message` on stderr as one line of printable characters, and return `exit_code`."""
    line = " ".join(message.split())
    safe = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    typer.echo(safe, err=True)
    return exit_code
