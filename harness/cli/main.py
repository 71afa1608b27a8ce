"""``swarm-chaos``, the command line: which commands there are, and how errors end.

Commands are imported when they are called and not before, so ``--help`` and ``--version`` answer
at once. Exit codes: 0 good, 1 an expectation does not hold, 2 trouble with the lab or this
machine, 64 the command line itself is wrong, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import click

from harness import __version__
from harness.errors import (
    EXIT_EXPECTATION,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TROUBLE,
    EXIT_USAGE,
    HarnessError,
)

DEBUG_VARIABLE = "SWARM_CHAOS_DEBUG"


@dataclass(frozen=True)
class Lazy:
    """A command that lives elsewhere: ``module:attribute``, and its line in ``--help``."""

    where: str
    summary: str


COMMANDS: Mapping[str, Lazy] = {
    "doctor": Lazy("harness.cli.doctor:doctor", "Say what this machine can do."),
    "engines": Lazy("harness.cli.engines:engines", "List, fetch and verify Docker Engines."),
    "faults": Lazy("harness.cli.faults:faults", "List the faults there are."),
    "scenarios": Lazy("harness.cli.scenarios:scenarios", "List what is expected of a swarm."),
    "inject": Lazy("harness.cli.manual:inject", "Inject a fault on an open lab, by hand."),
    "heal": Lazy("harness.cli.manual:heal", "Heal what was injected by hand."),
    "status": Lazy("harness.cli.manual:status", "Show open labs, and what is injected."),
    "schedule": Lazy("harness.cli.manual:schedule", "Show or carry out a schedule of faults."),
    "lab": Lazy("harness.cli.lab:lab", "Hold a lab open, and look into its nodes."),
    "replay": Lazy("harness.cli.replay:replay", "Run a recorded trial again, byte by byte."),
    "compare": Lazy("harness.cli.compare:compare", "Compare runs, or engines."),
    "results": Lazy("harness.cli.results:results", "Check, merge and carry runs."),
    "report": Lazy("harness.cli.report:report", "Write the HTML pages of runs again."),
    "serve": Lazy("harness.cli.serve:serve", "Show runs in a browser, live too."),
    "shell": Lazy("harness.cli.shell:shell", "Open a frozen swarm and look around in it."),
    "snapshots": Lazy("harness.cli.snapshots:snapshots", "List and remove frozen swarms."),
    "clean": Lazy("harness.cli.clean:clean", "Remove what a power cut could leave behind."),
}

BENCHES: Mapping[str, Lazy] = {
    "microvm": Lazy("harness.bench.microvm:microvm", "What freezing and thawing costs."),
    "statistics": Lazy("harness.bench.statistics:statistics", "What comparisons miss."),
    "report": Lazy("harness.bench.report:report", "What the pages of many trials cost."),
    "lab": Lazy("harness.bench.lab:lab", "How fast nodes come up, and what they weigh."),
    "faults": Lazy("harness.bench.faults:faults", "How soon an injected fault is felt."),
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
            raise TypeError(f"{lazy.where} is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, from what is known without importing them."""
        rows = []
        for name in self.list_commands(ctx):
            if name in self.lazy:
                rows.append((name, self.lazy[name].summary))
            elif command := super().get_command(ctx, name):
                rows.append((name, command.get_short_help_str(70)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 good, 1 an expectation does not hold, 2 trouble with the lab or this "
    "machine, 64 wrong command line, 130 interrupted.",
)
@click.version_option(__version__, prog_name="swarm-chaos")
def cli() -> None:
    """Break a real Docker Swarm on purpose and measure what it does."""


@cli.group(cls=LazyGroup, lazy=BENCHES)
def bench() -> None:
    """Measure the harness itself."""


@cli.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": [],
    },
)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def run(args: tuple[str, ...]) -> NoReturn:
    """Run the scenarios: pytest, with all its options and the harness's own.

    The whole suite is spread over the CPUs (pytest's -n auto) and told line by line; a selection
    (-k, -m, a file, a node id) runs one by one, and tells live what happens. -n decides itself.
    """
    import pytest

    if not selects(args):
        args = ("-n", "auto", "-v", *args)
    if not any(names_a_scenario(arg, before) for before, arg in pairwise(("", *args))):
        args = (str(scenarios_folder()), *args)
    sys.exit(exit_code_of(int(pytest.main(list(args)))))


#: The harness's own options that take no value.
FLAGS = ("--controls", "--thorough")

#: Options, the harness's and pytest's, whose value may be a path and is none of a scenario.
PATHS = (
    *("--reports", "--junitxml", "--junit-xml", "--basetemp", "--rootdir", "--confcutdir"),
    *("-c", "--config-file", "--log-file", "--ignore", "--ignore-glob", "--deselect"),
)


def selects(args: Sequence[str]) -> bool:
    """Whether pytest arguments choose some scenarios, or say how to run or only list them."""
    words = (
        *("-k", "-m", "-n", "--numprocesses", "-x", "--maxfail", "--lf", "--last-failed", "--sw"),
        *("--stepwise", "--pdb", "--collect-only", "--co", "--help", "-h", "--version", "-s"),
        *("--markers", "--fixtures", "-p"),
    )
    short = tuple(word for word in words if len(word) == len("-k"))
    return "namespaces" in " ".join(args) or any(  # where nodes share one kernel: one at a time
        arg.partition("=")[0] in words or arg.startswith(short) or is_path(arg, before)
        for before, arg in pairwise(("", *args))
    )


def is_path(arg: str, before: str) -> bool:
    """Whether a pytest argument is meant as a path, be it misspelt, and not as an option's value.

    (Of a path that is not there pytest-xdist says nothing.)
    """
    is_value = before.startswith("-") and "=" not in before and before not in FLAGS
    return not arg.startswith("-") and (not is_value or names_a_scenario(arg, before))


def names_a_scenario(arg: str, before: str) -> bool:
    """Whether a pytest argument is a file, a folder or a node id of one that exists.

    And is not the value of the option ``before`` it, as in ``--reports FOLDER``.
    """
    if arg.startswith("-") or before in PATHS:
        return False
    return Path(arg.partition("::")[0]).exists()


def scenarios_folder() -> Path:
    """``scenarios/`` here, else the one beside the harness; :class:`HarnessError` if neither."""
    for folder in (Path("scenarios"), Path(__file__).resolve().parent.parent / "scenarios"):
        if folder.is_dir():
            return folder
    raise HarnessError(
        "there is no folder scenarios/ here, nor beside the installed harness",
        hint="change to the project's folder, or name the scenarios' path",
    )


def exit_code_of(pytest_code: int) -> int:
    """pytest's exit code in the words of this harness.

    pytest: 0 passed, 1 failed, 2 interrupted, 3 internal error, 4 usage, 5 nothing collected.
    A run of nothing is a wrong selection and not a good end.
    """
    return {
        0: EXIT_OK,
        1: EXIT_EXPECTATION,
        2: EXIT_TROUBLE,
        3: EXIT_TROUBLE,
        4: EXIT_USAGE,
        5: EXIT_USAGE,
    }.get(pytest_code, pytest_code)


def call(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's own); returns the exit code."""
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
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        return EXIT_TROUBLE
    except Exception as error:
        _complain(
            f"a fault in swarm-chaos itself: {type(error).__name__}: {error}\n"
            f"  -> run it again with {DEBUG_VARIABLE}=1 and report what it prints"
        )
        return EXIT_TROUBLE
    # click hands back the code of ctx.exit() as the result.
    return result if isinstance(result, int) else EXIT_OK


def _complain(sentence: str) -> None:
    """One message on stderr; the traceback only for who asked for it."""
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exc()
    click.echo(f"swarm-chaos: {sentence}", err=True)


def main() -> NoReturn:
    """The console script."""
    sys.exit(call())


if __name__ == "__main__":
    main()
