"""What commands share: how they print, and options that mean the same everywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

#: Columns where there is no terminal: in a pipe or a file no line is folded.
_UNFOLDED = 10_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
lab_option = click.option(
    "--lab", "lab", metavar="LAB", help="Id or folder of a lab (default: the only open one)."
)
seed_option = click.option(
    "--seed", default=1, show_default=True, help="Seed of everything that is random."
)
reports_option = click.option(
    "--reports",
    default="reports",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that holds the runs.",
)


def say(line: str) -> None:
    """Print a line of progress to standard error, apart from the result."""
    click.echo(line, err=True)


def show(renderable: RenderableType) -> None:
    """Print a table or a text on standard output, folded only where a terminal needs it."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _UNFOLDED, highlight=False).print(renderable)


def table_of(*heads: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table of plain columns; those in ``right`` are aligned to the right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, head in enumerate(heads):
        last = number == len(heads) - 1
        table.add_column(
            head,
            justify="right" if head in right else "left",
            no_wrap=not last,
            overflow="fold",
        )
    return table
