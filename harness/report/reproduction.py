"""A run as a reproduction: one Markdown text for the thread that reported the bug upstream."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.events import events_of
from harness.report.formatting import bound_of, value_of
from harness.report.overview import outcome_of
from harness.report.sanitize import markdown_cell, one_line
from harness.results.run import Run, StoredTrial
from harness.results.samples import journal
from harness.results.scenario_names import short_name
from harness.trial import TrialRecord, digest_of

#: Entries of the journal that tell what was done and what came of it; the rest is in the bundle.
_TOLD = ("swarm.formed", "workload.deployed", "load.", "fault.", "leader", "measure", "doubt")
_MOST_LINES = 60


def digest_of_run(run: Run) -> str:
    """Return one digest over all trials of a run: equal when all of them are byte-identical."""
    return digest_of({trial.id: trial.record.digest for trial in run.trials})


def is_repeatable(run: Run) -> bool:
    """Return whether the same inputs give the same bytes: all trials were in virtual time."""
    clocks = {trial.record.inputs.clock for trial in run.trials}
    return clocks == {"virtual"}


def reproduction(run: Run, thread: str, command: str) -> str:
    """Return the summary: what was seen, on what, what was done, and how to repeat it.

    ``command`` is the one line that runs it again.
    """
    return "\n".join([f"# {thread}", "", *_parts(run, command), ""])


def _parts(run: Run, command: str) -> Iterator[str]:
    for trial in run.trials:
        yield from _trial(trial)
    for damaged in run.damaged:
        yield f"Unfinished: {one_line(damaged.path.name)}: {one_line(damaged.sentence)}"
        yield ""
    yield "## Repeat it"
    yield ""
    yield from ("```sh", command, "```", "")
    if is_repeatable(run):
        yield (
            "In virtual time the same inputs give the same history: that command ends with an "
            "error unless every file of the trials has the bytes that it had here. The digest over "
            f"all of them is `{digest_of_run(run)}`."
        )
    else:
        yield (
            "These trials ran in real time, on the kernel of the machine: figures will be near "
            "these, not equal. With `--lab microvm` they are equal to the byte."
        )
    yield ""
    yield (
        "Each trial's folder, in `reports/`, has its inputs and measures (`trial.json`), what "
        "happened (`journal.jsonl`), what probes saw (`samples/`) and each node's dockerd log "
        "(`logs/`); `index.html` next to them shows it on one time axis."
    )


def _trial(trial: StoredTrial) -> Iterator[str]:
    record = trial.record
    control = " (control: broken on purpose)" if record.inputs.control else ""
    yield f"## {markdown_cell(short_name(record.inputs.scenario))}{control}"
    yield ""
    if record.title:
        yield from (one_line(record.title), "")
    yield from (f"**{_said(trial)}** {markdown_cell(record.reason)}".rstrip(), "")
    yield from _inputs(record)
    yield ""
    if record.measures:
        yield from ("| measure | value | expected |", "|---|---|---|")
        for measure in record.measures:
            mark = {True: " ✓", False: " ✗", None: ""}[measure.ok]
            bound = bound_of(measure) if measure.bound else ""
            cells = (measure.name, value_of(measure), f"{bound}{mark}")
            yield "| " + " | ".join(markdown_cell(cell) for cell in cells) + " |"
        yield ""
    yield from ("<details><summary>What happened</summary>", "", "```text")
    yield from _happened(trial)
    yield from ("```", "", "</details>", "")


def _said(trial: StoredTrial) -> str:
    record = trial.record
    engine = f"Docker {record.inputs.engine.version}"
    if record.inputs.control:
        return f"{outcome_of(trial).word}."
    match record.verdict:
        case "fail":
            return f"{engine} shows it."
        case "pass":
            return f"{engine} does not show it."
        case "unknown":
            return f"Nothing can be said about {engine}."


def _inputs(record: TrialRecord) -> Iterator[str]:
    inputs = record.inputs
    engine = inputs.engine
    yield f"- Docker Engine {engine.version}, {one_line(engine.source)}, sha256 `{engine.digest}`"
    yield f"- {inputs.topology}: {', '.join(record.nodes)}"
    yield (
        f"- {inputs.lab} lab, kernel {one_line(inputs.kernel)}, {inputs.clock} time, "
        f"seed {inputs.seed}, {record.seconds:.0f} s"
    )
    if record.upstream:
        yield f"- about {', '.join(map(one_line, record.upstream))}"


def _happened(trial: StoredTrial) -> Iterator[str]:
    entries = [
        entry for entry in journal(trial.folder).rows if str(entry.get("kind")).startswith(_TOLD)
    ]
    events, _ = events_of(entries)
    lines = [f"{event.at or 0:9.2f} s  {event.kind}  {event.text}" for event in events]
    yield from (line.replace("```", "'''") for line in lines[:_MOST_LINES])
    if len(lines) > _MOST_LINES:
        yield f"... and {len(lines) - _MOST_LINES} more, in journal.jsonl"
