"""The answer of `swarm-chaos try`: what each experiment cost, next to the stack left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.report.formatting import value_of
from harness.report.overview import outcome_of
from harness.report.sanitize import markdown_cell, one_line
from harness.results.run import Run, StoredTrial
from harness.trial import Measure

BASELINE = "nothing"
_LOST = "requests lost at the other nodes"
_GAP = "longest time without an answer"
_MISSING = "most tasks missing at once"
_SHORT = "time with tasks missing"
_REPLACED = "tasks replaced"
_BACK = "time until every task runs again"
_COLUMNS = {
    "requests lost": _LOST,
    "nobody answered for": _GAP,
    "99 % of answers within": "99th percentile of answers",
    "tasks missing": _MISSING,
    "for": _SHORT,
    "replaced": _REPLACED,
    "all back after": _BACK,
}
_OF_ONE_EXPERIMENT = (
    "time until the bad update is rolled back",
    "time until the update is completed",
)


def answer(
    run: Run, stack: str, *, titles: Mapping[str, str], not_applicable: Mapping[str, str]
) -> str:
    """Return the answer as Markdown: a sentence for each experiment, and all of it as a table.

    ``titles`` says what is done in each experiment, by name; ``not_applicable`` has the reasons for
    those that the stack could not be put to.
    """
    lines = [f"# What {one_line(stack)} bears", "", *_lines(run, titles, not_applicable)]
    return "\n".join([*lines, ""])


def _lines(run: Run, titles: Mapping[str, str], not_applicable: Mapping[str, str]) -> Iterator[str]:
    trials = [trial for trial in run.trials if not trial.record.inputs.control]
    baseline = next((trial for trial in trials if _name(trial) == BASELINE), None)
    yield from (_headline(trials), "")
    for trial in trials:
        name = _name(trial)
        told = " ".join(_sentences(trial, None if trial is baseline else baseline))
        title = titles.get(name, "")
        yield f"- {outcome_of(trial).mark} **{markdown_cell(name)}** ({title}): {told}"
    for name, reason in not_applicable.items():
        yield f"- **{markdown_cell(name)}** is not applicable: {markdown_cell(reason)}."
    for damaged in run.damaged:
        yield f"- ? {markdown_cell(damaged.path.name)}: {markdown_cell(damaged.sentence)}"
    blind = [t for t in run.trials if t.record.inputs.control and outcome_of(t).tone != "good"]
    for trial in blind:
        yield f"- ? a control did not fail as it must: {markdown_cell(_name(trial))}"
    yield ""
    columns = {
        shown: measure
        for shown, measure in _COLUMNS.items()
        if any(_measure(trial, measure) for trial in trials)
    }
    yield "| experiment | " + " | ".join(columns) + " | |"
    yield "|---|" + "---|" * (len(columns) + 1)
    for trial in trials:
        cells = [_cell(trial, measure) for measure in columns.values()]
        shown = outcome_of(trial)
        row = [_name(trial), *cells, f"{shown.mark} {shown.word}"]
        yield "| " + " | ".join(map(markdown_cell, row)) + " |"
    if trials:
        inputs = trials[0].record.inputs
        yield ""
        if inputs.clock == "real" and any("load generator" in t.record.reason for t in trials):
            yield (
                "This machine was too busy to tell what users notice. The microvm lab runs in "
                "virtual time, which no other work disturbs."
            )
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


def _sentences(trial: StoredTrial, baseline: StoredTrial | None) -> Iterator[str]:
    """Say what an experiment cost, next to what the stack loses when it is left alone."""
    if outcome_of(trial).tone not in ("good", "bad"):
        yield f"nothing can be said: {markdown_cell(trial.record.reason)}."
        return
    lost, gap = _measure(trial, _LOST), _measure(trial, _GAP)
    if lost is not None and gap is not None:
        alone = ""
        if baseline is not None and (before := _measure(baseline, _GAP)) is not None:
            alone = f" (left alone {_cell(baseline, _LOST)} and {value_of(before)})"
        yield (
            f"users lost {_cell(trial, _LOST)} of their requests and for {value_of(gap)} "
            f"nobody was answered{alone};"
        )
    missing, replaced = _measure(trial, _MISSING), _measure(trial, _REPLACED)
    if missing is not None and replaced is not None:
        if missing.value:
            yield (
                f"up to {_count(missing)} missing, for {_cell(trial, _SHORT)} in all, and "
                f"{_count(replaced)} replaced;"
            )
        else:
            yield f"no task was missing, and {_count(replaced)} replaced;"
    for name in _OF_ONE_EXPERIMENT:
        if _measure(trial, name) is not None:
            yield f"{name}: {_cell(trial, name)};"
    yield f"all tasks ran {_cell(trial, _BACK)} after the end."


def _count(measure: Measure) -> str:
    number = int(measure.value or 0)
    return f"{number} task was" if number == 1 else f"{number or 'no'} tasks were"


def _name(trial: StoredTrial) -> str:
    scenario = trial.record.inputs.scenario
    _, bracket, case = scenario.rpartition("[")
    return case.rstrip("]") if bracket else scenario.rpartition("::")[2]


def _measure(trial: StoredTrial, name: str) -> Measure | None:
    return next((m for m in trial.record.measures if m.name == name), None)


def _cell(trial: StoredTrial, name: str) -> str:
    found = _measure(trial, name)
    if found is None or found.value is None:
        return "-" if found is None else "not measured"
    if found.unit == "tasks":
        return f"{found.value:.0f}"
    return value_of(found) + (" ✗" if found.ok is False else "")
