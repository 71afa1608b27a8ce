"""A diagnosis as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.doctor.check import Check
from harness.doctor.labs import Diagnosis
from harness.doctor.packages import apt_line_of_all

# The state is a word, too, not only a colour.
_STYLE = {"ok": "green", "degraded": "yellow", "missing": "red", "unknown": "magenta"}


def render(diagnosis: Diagnosis) -> RenderableType:
    """Return tables of the checks by group, then of the labs, then what ``auto`` takes."""
    return Group(*_parts(diagnosis))


def _parts(diagnosis: Diagnosis) -> Iterator[RenderableType]:
    for group, checks in groupby(diagnosis.checks, key=lambda check: check.group):
        yield Text(group, style="bold")
        yield _table_of(list(checks))
    yield Text("labs", style="bold")
    labs = Table.grid(padding=(0, 2))
    for lab in diagnosis.labs:
        word = Text("can run", "green") if lab.works else Text("cannot", "red")
        labs.add_row(f"  {lab.name}", word, Text(lab.because))
        for todo in lab.todo:
            labs.add_row("", "", Text(f"-> {todo}", "cyan"))
    yield labs
    if line := apt_line_of_all(check.todo for check in diagnosis.checks):
        yield Text.assemble("what is missing, in one line, as root: ", (line, "cyan"))
    if diagnosis.auto:
        yield Text.assemble("--lab auto takes ", (diagnosis.auto, "bold green"))
    else:
        yield Text("no lab can run on this machine", style="bold red")


def _table_of(checks: list[Check]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=20)
    table.add_column(no_wrap=True, min_width=8)
    table.add_column(overflow="fold")
    for check in checks:
        table.add_row(f"  {check.name}", Text(check.state, _STYLE[check.state]), Text(check.seen))
        if check.state != "ok":
            table.add_row("", "", Text(f"needed for: {check.needed_for}", "dim"))
            if check.todo:
                table.add_row("", "", Text(f"-> {check.todo}", "cyan"))
    return table
