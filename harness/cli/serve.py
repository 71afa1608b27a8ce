"""``swarm-chaos serve``: show runs in a browser on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.output import reports_option


@click.command("serve")
@reports_option
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port on 127.0.0.1; 0 picks a free one.",
)
def serve(reports: Path, port: int) -> None:
    """Show the runs in a browser, running ones live. Stop with Ctrl-C.

    The address that is printed has a token: other users of this machine cannot read the runs.
    """
    from harness.report.serve import server_of

    with server_of(reports, port) as server:
        click.echo(f"{server.address} shows the runs in {reports}")
        click.echo("Press Ctrl-C to stop.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("\nstopped")
