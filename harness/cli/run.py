"""``swarm-chaos run``: the scenarios, through pytest."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from harness.cli import run_on, until_decided
from harness.cli.pytest_call import PACKAGED_OPTION, exit_code_of, pytest_arguments


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": [],
    },
)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def run(args: tuple[str, ...]) -> NoReturn:
    """Run the scenarios: pytest, with all its options and the harness's own.

    The whole suite runs on all CPUs (pytest's -n auto) and prints a line per trial; a selection
    (-k, -m, a file, a node id) runs one trial after the other and shows live what happens. Your
    own -n overrides both.

    Without a path it takes scenarios/ or chaos/ here, else the scenarios that came with the
    harness; --packaged takes those in any case.

    --until-decided --budget 2h --engine A,B goes on drawing seeds, of the scenarios where they help
    most, until it is decided how the two engines differ; --continue RUN goes on from a stored run.

    --on dask://HOST:PORT shares the trials out among the workers of a Dask cluster.
    """
    if until_decided.OPTION in args:
        code = until_decided.run_until_decided.main(list(args), standalone_mode=False)
        click.get_current_context().exit(code)
    address, rest = run_on.address_in(args)
    if address is not None:
        options = [arg for arg in rest if arg != PACKAGED_OPTION]
        sys.exit(run_on.run_on(address, options, pytest_arguments(rest)))
    import pytest

    sys.exit(exit_code_of(int(pytest.main(pytest_arguments(args)))))
