"""A run in the terminal: trials, measures and bounds, reasons, and the path of the report."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.report.formatting import bound_of, standing_of, value_of
from harness.report.overview import headline_of, outcome_of
from harness.report.page_names import INDEX as REPORT_FILE
from harness.report.sanitize import plain
from harness.results import Run, StoredTrial
from harness.results.scenario_names import short_name
from harness.trial import Measure
from harness.trial.oracles import of_every_trial, of_the_scenario

_STYLES = {"good": "cyan", "bad": "bold red", "unknown": "yellow"}
_STANDING = {"holds": "✓", "broken": "✗", "no bound": "", "undecided": "?", "not measured": "?"}


def render_summary(run: Run) -> RenderableType:
    """Return the run for rich, in 80 columns and not by colour alone.

    The path of the report may be longer: print it with ``crop=False``.
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("trial", overflow="fold", ratio=3)
    table.add_column("measure", overflow="fold", ratio=4)
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("bound", justify="right", overflow="fold")
    table.add_column("", width=1)
    reasons: list[Text] = []
    for trial in run.trials:
        _add_trial(table, trial)
        if reason := _reason(trial):
            reasons.append(reason)
    parts: list[RenderableType] = [table] if run.trials else []
    parts += reasons
    parts += [
        Text(f"! {plain(d.path.name)}: {plain(d.sentence)}", style=_STYLES["unknown"])
        for d in run.damaged
    ]
    parts.append(Text(headline_of(run.trials, len(run.damaged)), style="bold"))
    page = run.folder / REPORT_FILE
    if page.exists():
        parts.append(Text(f"report: {page}", no_wrap=True, overflow="ignore"))
    return Group(*parts)


def _add_trial(table: Table, trial: StoredTrial) -> None:
    given = trial.record.inputs
    outcome = outcome_of(trial)
    head = Text()
    head.append(f"{outcome.mark} {outcome.word}\n", style=_STYLES[outcome.tone])
    head.append(plain(short_name(given.scenario)).removeprefix("test_"))
    control = ", control" if given.control else ""
    head.append(f"\n{given.engine.version}, {given.topology}, seed {given.seed}{control}", "dim")
    measures, kept = _to_show(trial.record.measures)
    if not measures:
        table.add_row(head, Text("nothing measured", style="dim"), "", "", "", end_section=True)
        return
    # The trial's lines and its measures run side by side; the last row takes what lines are left.
    lines = list(head.split("\n"))
    for number, measure in enumerate(measures):
        last = not kept and number == len(measures) - 1
        table.add_row(
            Text("\n").join(lines[number:] if last else lines[number : number + 1]),
            *(_cell(measure, text) for text in (plain(measure.name), value_of(measure))),
            _cell(measure, bound_of(measure)),
            _cell(measure, _STANDING[standing_of(measure)]),
            end_section=last,
        )
    if kept:
        held = Text(f"held in every trial: {kept} checks", style="dim")
        table.add_row(Text("\n").join(lines[len(measures) :]), held, "", "", "✓", end_section=True)


def _to_show(measures: tuple[Measure, ...]) -> tuple[list[Measure], int]:
    """Return what has a row of its own, and how many oracles hold, which have one together."""
    oracles = of_every_trial(measures)
    kept = [oracle for oracle in oracles if standing_of(oracle) == "holds"]
    return [*of_the_scenario(measures), *(o for o in oracles if o not in kept)], len(kept)


def _cell(measure: Measure, text: str) -> Text:
    style = {"broken": _STYLES["bad"], "undecided": _STYLES["unknown"]}
    style["not measured"] = _STYLES["unknown"]
    return Text(text, style=style.get(standing_of(measure), ""))


def _reason(trial: StoredTrial) -> Text | None:
    outcome = outcome_of(trial)
    if not trial.record.reason or outcome.tone == "good":
        return None
    line = Text(f"{outcome.mark} {plain(trial.id)}: ", style=_STYLES[outcome.tone])
    return line.append(plain(trial.record.reason), "not bold default")
