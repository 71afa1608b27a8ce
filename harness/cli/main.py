"""``swarm-chaos``, the command line: which commands there are, and how errors end.

Commands are imported when they are called and not before, so ``--help`` and ``--version`` answer
at once. Exit codes: 0 success, 1 an expectation does not hold, 2 trouble with the lab or this
machine, 64 wrong command line, 130 interrupted (143 by SIGTERM, 129 by SIGHUP).
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from harness import __version__
from harness.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TROUBLE,
    EXIT_USAGE,
    EndedBySignal,
    HarnessError,
    signals_raised,
)

DEBUG_VARIABLE = "SWARM_CHAOS_DEBUG"


@dataclass(frozen=True)
class Lazy:
    """A command that lives elsewhere: ``module:attribute``, and its line in ``--help``."""

    where: str
    summary: str


COMMANDS: Mapping[str, Lazy] = {
    "run": Lazy("harness.cli.run:run", "Run the scenarios: pytest, with all its options."),
    "init": Lazy("harness.cli.init:init", "Write a first scenario into a project of your own."),
    "doctor": Lazy("harness.cli.doctor:doctor", "Check what this machine can do."),
    "engines": Lazy("harness.cli.engines:engines", "List, fetch and verify Docker Engines."),
    "faults": Lazy("harness.cli.faults:faults", "List the available faults."),
    "scenarios": Lazy(
        "harness.cli.scenarios:scenarios", "List the scenarios and what they expect."
    ),
    "try": Lazy("harness.cli.try_stack:try_stack", "Break the swarm under a stack of your own."),
    "repro": Lazy("harness.cli.repro:repro", "Reproduce a bug report, and bundle what was seen."),
    "bisect": Lazy("harness.cli.bisect:bisect", "Find the first engine in which a scenario fails."),
    "inject": Lazy("harness.cli.inject:inject", "Inject a fault into an open lab by hand."),
    "heal": Lazy("harness.cli.heal:heal", "Heal faults that were injected by hand."),
    "status": Lazy("harness.cli.status:status", "Show open labs and their injected faults."),
    "schedule": Lazy("harness.cli.schedule:schedule", "Show or run a schedule of faults."),
    "lab": Lazy("harness.cli.lab:lab", "Keep a lab open, and run commands on its nodes."),
    "replay": Lazy("harness.cli.replay:replay", "Run a recorded trial again, compare every byte."),
    "compare": Lazy("harness.cli.compare:compare", "Compare runs, or engines."),
    "results": Lazy("harness.cli.results:results", "Check, merge, export and import runs."),
    "report": Lazy("harness.cli.report:report", "Build the HTML report of runs again."),
    "serve": Lazy("harness.cli.serve:serve", "Show runs in a browser, also while they go on."),
    "shell": Lazy("harness.cli.shell:shell", "Open a shell in a frozen swarm."),
    "snapshots": Lazy("harness.cli.snapshots:snapshots", "List and remove frozen swarms."),
    "clean": Lazy("harness.cli.clean:clean", "Remove what a power cut could leave behind."),
    "bench": Lazy("harness.cli.bench:bench", "Measure the harness itself."),
}


class LazyGroup(click.Group):
    """A group that imports a command only when it is called or asked for its own help."""

    def __init__(self, *args: object, lazy: Mapping[str, Lazy], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (lazy := self.lazy.get(cmd_name)) is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = lazy.where.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{lazy.where} is not a click command")
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands, or options, that begin so, without importing them."""
        options = click.Command.shell_complete(self, ctx, incomplete)
        names = (name for name in self.list_commands(ctx) if name.startswith(incomplete))
        return [*(CompletionItem(name, help=self._summary(ctx, name)) for name in names), *options]

    def _summary(self, ctx: click.Context, name: str) -> str:
        if name in self.lazy:
            return self.lazy[name].summary
        command = super().get_command(ctx, name)
        return command.get_short_help_str(70) if command else ""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands from what is known without importing them."""
        rows = [(name, self._summary(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 success, 1 an expectation does not hold, 2 trouble with the lab or this "
    "machine, 64 wrong command line, 130 interrupted (143 by SIGTERM, 129 by SIGHUP).",
)
@click.version_option(__version__, prog_name="swarm-chaos")
def cli() -> None:
    """Break a real Docker Swarm on purpose and measure what it does."""


def call(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's own) and return the exit code."""
    try:
        result = cli.main(
            args=None if argv is None else list(argv),
            prog_name="swarm-chaos",
            standalone_mode=False,
        )
    except HarnessError as error:
        _complain(str(error))
        return error.exit_code
    except click.UsageError as error:
        error.show()
        return EXIT_USAGE
    except click.ClickException as error:
        error.show()
        return EXIT_TROUBLE
    except EndedBySignal as error:
        _complain(str(error))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        # click turns what ends a command by a signal into an Abort of its own.
        if isinstance(signalled := error.__cause__, EndedBySignal):
            _complain(str(signalled))
            return signalled.exit_code
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}{_way_out(error)}")
        return EXIT_TROUBLE
    except Exception as error:
        _complain(
            f"an error in swarm-chaos itself: {type(error).__name__}: {error}\n"
            f"  -> run it again with {DEBUG_VARIABLE}=1 and report what it prints"
        )
        return EXIT_TROUBLE
    # click hands back the code of ctx.exit() as the result.
    return result if isinstance(result, int) else EXIT_OK


def _way_out(error: OSError) -> str:
    """Return what to do about an error of the system, where that is not plain from its words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "\n  -> free some space; --reports, SWARM_CHAOS_CACHE and TMPDIR name other places"
    return ""


def _complain(sentence: str) -> None:
    """Print one message on standard error, and the traceback if it was asked for."""
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exc()
    click.echo(f"swarm-chaos: {sentence}", err=True)


def main() -> NoReturn:
    """The console script."""
    with signals_raised():
        code = call()
    sys.exit(code)


if __name__ == "__main__":
    main()
