"""``swarm-chaos serve``: look at runs in a browser on this machine."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("serve")
@click.option(
    "--reports",
    default="reports",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that holds the runs.",
)
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port on 127.0.0.1; 0 takes any that is free.",
)
def serve(reports: Path, port: int) -> None:
    """Show the runs in a browser, and a run under way as it goes. Ctrl-C ends it."""
    from harness.report.serve import HOST, server_of

    with server_of(reports, port) as server:
        click.echo(f"http://{HOST}:{server.server_port}/ shows the runs in {reports}")
        click.echo("Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("\nended")
