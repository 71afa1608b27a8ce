"""The answer of `swarm-chaos try`: what each experiment cost, next to the stack left alone."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.formatting import value_of
from harness.report.overview import outcome_of
from harness.report.sanitize import markdown_cell, one_line
from harness.results.run import Run, StoredTrial
from harness.trial import Measure

BASELINE = "nothing"
_COLUMNS = {
    "requests lost": "requests lost at the other nodes",
    "longest time without an answer": "longest time without an answer",
    "99 % of answers within": "99th percentile of answers",
    "tasks replaced": "tasks replaced",
    "all tasks back after": "time until every task runs again",
}


def answer(run: Run, stack: str) -> str:
    """Return the answer as Markdown: a table of the experiments, and what stood out."""
    return "\n".join([f"# What {one_line(stack)} bears", "", *_lines(run), ""])


def _lines(run: Run) -> Iterator[str]:
    trials = [trial for trial in run.trials if not trial.record.inputs.control]
    yield from (_headline(trials), "")
    yield "| experiment | " + " | ".join(_COLUMNS) + " | |"
    yield "|---|" + "---|" * (len(_COLUMNS) + 1)
    for trial in trials:
        cells = [_cell(trial, measure) for measure in _COLUMNS.values()]
        shown = outcome_of(trial)
        row = [_name(trial), *cells, f"{shown.mark} {shown.word}"]
        yield "| " + " | ".join(map(markdown_cell, row)) + " |"
    yield ""
    troubles = [t for t in trials if outcome_of(t).tone != "good"]
    for trial in troubles:
        yield f"- {markdown_cell(_name(trial))}: {markdown_cell(trial.record.reason)}"
    for damaged in run.damaged:
        yield f"- {markdown_cell(damaged.path.name)}: {markdown_cell(damaged.sentence)}"
    blind = [t for t in run.trials if t.record.inputs.control and outcome_of(t).tone != "good"]
    for trial in blind:
        yield f"- a control did not fail as it must: {markdown_cell(_name(trial))}"
    if trials:
        inputs = trials[0].record.inputs
        yield ""
        yield (
            f"Docker Engine {inputs.engine.version}, {inputs.topology}, {inputs.lab} lab in "
            f"{inputs.clock} time. Requests to a node that the experiment took away do not count. "
            f"“{BASELINE}” is the stack left alone: what it loses there, no fault has cost."
        )


def _headline(trials: list[StoredTrial]) -> str:
    tones = [outcome_of(trial).tone for trial in trials]
    good, bad = tones.count("good"), tones.count("bad")
    unknown = len(tones) - good - bad
    parts = [f"{good} of {len(tones)} experiments went as expected"]
    if bad:
        parts.append(f"{bad} cost more than the stack may lose")
    if unknown:
        parts.append(f"of {unknown} nothing can be said")
    return "**" + ", ".join(parts) + ".**"


def _name(trial: StoredTrial) -> str:
    scenario = trial.record.inputs.scenario
    _, bracket, case = scenario.rpartition("[")
    return case.rstrip("]") if bracket else scenario.rpartition("::")[2]


def _cell(trial: StoredTrial, name: str) -> str:
    found: Measure | None = next((m for m in trial.record.measures if m.name == name), None)
    if found is None or found.value is None:
        return "not measured"
    return value_of(found) + (" ✗" if found.ok is False else "")
