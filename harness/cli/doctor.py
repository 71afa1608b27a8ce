"""``swarm-chaos doctor``: what this machine can do."""

from __future__ import annotations

import dataclasses
import json

import click

from harness.cli.output import json_option, show
from harness.errors import EXIT_OK, EXIT_TROUBLE


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check what this machine can do, which labs can run, and what to install for the others.

    The exit code is 0 when at least one lab can run, else 2.
    """
    from harness.doctor import examine

    diagnosis = examine()
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(diagnosis), indent=2))
    else:
        from harness.doctor.show import render

        show(render(diagnosis))
    ctx.exit(EXIT_OK if diagnosis.auto else EXIT_TROUBLE)
