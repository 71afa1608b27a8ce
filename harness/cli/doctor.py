"""``swarm-chaos doctor``."""

from __future__ import annotations

import dataclasses
import json

import click

from harness.errors import EXIT_OK, EXIT_TROUBLE


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Say what this machine can do, which labs follow, and what to install for the rest.

    Ends with 0 when at least one lab can run, else with 2.
    """
    from harness.doctor import examine

    diagnosis = examine()
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(diagnosis), indent=2))
    else:
        from rich.console import Console

        from harness.doctor.show import render

        Console().print(render(diagnosis))
    ctx.exit(EXIT_OK if diagnosis.auto else EXIT_TROUBLE)
