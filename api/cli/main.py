"""The way into `tune`: loads the one verb that was asked for, and turns errors into exit codes.

Exit codes: 0 done; 1 a check failed, or nothing could be measured; 2 bad input or usage; 3 a lookup
missed; 130 interrupted. Errors on purpose are one line on stderr; any other is a bug and shows its trace.
"""

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from tilewright.api.cli.members import MEMBERS
from tilewright.api.cli.verbs import GROUPS, VERBS, verb_app
from tilewright.compiler_core.errors import InputError, NotLockedError, TilewrightError

ENVIRONMENT = (errno.ENAMETOOLONG, errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Failures of file systems that no program can help: they are no bugs, wherever they come up."""
MISSED = 3
"""The exit code where a database or a lock has no answer."""
INTERRUPTED = 130
"""The exit code of an interrupt, by the convention of shells."""


FIRST_STEPS = """\
Tilewright tunes neural networks for AI accelerators, and keeps the answers in a database.

  tune doctor                                    what works on this machine
  tune targets list                              the chips that are described
  tune run MODEL.onnx --target ascend910         tune a network; a second run is free
  tune report MODEL.onnx --target ascend910 -o report.html
  tune explain MODEL.onnx --target ascend910     why the answer is as it is

tune --help lists every verb; tune VERB --help has two lines to try.
"""


class LazyVerb(TyperCommand):
    """Stands in for a verb in the table of `tune --help`; the module is imported when the verb is used."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command, so that it is the real one that runs or shows its help."""
        real = get_command(import_module(f"tilewright.api.cli.{self.name}").app)
        real.epilog = _examples(VERBS[str(self.name)].examples)
        for member, command in getattr(real, "commands", {}).items():
            command.epilog = _examples(MEMBERS[f"{self.name} {member}"])
        return real.make_context(info_name, args, parent, **extra)


def _examples(lines: Sequence[str]) -> str:
    """The end of a help text; its first character keeps the lines as they are."""
    return "\n".join(["\b", "Examples:", *(f"  tune {line}" for line in lines)])


class GroupedVerbs(TyperGroup):
    """`tune` itself: its help lists verbs by group."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One table a group, in the order of GROUPS."""
        width = max(map(len, VERBS))
        for group, heading in GROUPS.items():
            rows = [(name.ljust(width), verb.help) for name, verb in VERBS.items() if verb.group == group]
            with formatter.section(heading):
                formatter.write_dl(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `tune` on `arguments` (the process's own by default) and return its exit code."""
    if sys.flags.optimize >= 2:
        return complain(
            "tune: Python runs with -OO or PYTHONOPTIMIZE=2, under which xgboost and others do not work;"
            " start it without",
            exit_code=2,
        )
    # The matrices here are small, and the other cores belong to the workers: a second BLAS thread only spins.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    app = verb_app()
    settings = {"help_option_names": ["-h", "--help"]}
    app.callback(cls=GroupedVerbs, invoke_without_command=True, context_settings=settings)(tune)
    command = get_group(app)
    for name, verb in VERBS.items():
        command.commands[name] = LazyVerb(name=name, callback=None, help=verb.help, rich_markup_mode=None)
    if "_TUNE_COMPLETE" in os.environ:
        # Typer lends these out without declaring them exported.
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    try:
        answer = command.main(args=arguments, prog_name="tune", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        place = context.command_path if context else "tune"
        return complain(f"{place}: {error.format_message()} (see {place} --help)", exit_code=2)
    except InputError as error:
        return complain(f"tune: {error}", exit_code=2)
    except NotLockedError as error:
        return complain(f"tune: {error}", exit_code=MISSED)
    except TilewrightError as error:
        return complain(f"tune: {error}", exit_code=1)
    except KeyboardInterrupt:
        answer = INTERRUPTED
    except MemoryError as error:
        return complain(f"tune: this needs more memory than there is: {error}", exit_code=2)
    except OSError as error:
        if error.errno not in ENVIRONMENT:
            raise
        named = f"{str(error.filename)[:200]}: " if error.filename else ""
        return complain(f"tune: {named}{error.strerror}", exit_code=2)
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
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Tune neural networks for AI accelerators, and look up what has been tuned before."""
    if context.invoked_subcommand is None:
        typer.echo(FIRST_STEPS, nl=False)


def complain(message: str, *, exit_code: int) -> int:
    """Print `message` on stderr as one line of printable characters, and return `exit_code`."""
    line = " ".join(message.split())
    safe = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    typer.echo(safe, err=True)
    return exit_code
