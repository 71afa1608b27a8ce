"""A run in a GitHub workflow: the job's summary, and annotations.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
The summary is appended to the file that ``GITHUB_STEP_SUMMARY`` names; annotations are lines to be
printed where ``GITHUB_ACTIONS`` is set. Elsewhere nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness.report.overview import headline_of, matrix_of, outcome_of
from harness.report.sanitize import markdown_cell, one_line
from harness.results import Run, StoredTrial

MOST_ANNOTATIONS = 10
"""GitHub shows no more of one kind from one step."""

MOST_SUMMARY = 1_000_000
"""Bytes; GitHub refuses a summary of more than 1 MiB."""


def run_to_github(run: Run, environ: Mapping[str, str]) -> list[str]:
    """Append the run to the job's summary, and return the annotations to print."""
    append_summary(run_markdown(run), environ)
    return few(_annotations(run)) if environ.get("GITHUB_ACTIONS") == "true" else []


def run_markdown(run: Run) -> str:
    """Return a run as Markdown: scenarios by engine, what is not as expected or damaged."""
    matrix = matrix_of(run.trials)
    lines = [f"## swarm-chaos: {markdown_cell(headline_of(run.trials, len(run.damaged)))}", ""]
    if matrix.rows:
        lines.append(f"| scenario | {' | '.join(map(markdown_cell, matrix.engines))} |")
        lines.append("|---|" + "---|" * len(matrix.engines))
    for row in matrix.rows:
        cells = [
            "<br>".join(
                [
                    *(f"{o.mark} {o.word}{f' ({n})' if n > 1 else ''}" for o, n in column.counts),
                    *(markdown_cell(f"{m.name}: {m.value}") for m in column.measures),
                ]
            )
            if column
            else ""
            for column in row.cells
        ]
        control = " (control)" if row.control else ""
        lines.append(f"| {markdown_cell(row.name)}{control} | {' | '.join(cells)} |")
    troubles = [t for t in run.trials if outcome_of(t).tone != "good" and t.record.reason]
    if troubles:
        lines += ["", "Not as expected, or without a verdict:", ""]
        lines += [f"- {markdown_cell(t.id)}: {markdown_cell(t.record.reason)}" for t in troubles]
    if run.damaged:
        lines += ["", "Unfinished or damaged:", ""]
        lines += [
            f"- {markdown_cell(d.path.name)}: {markdown_cell(d.sentence)}" for d in run.damaged
        ]
    return "\n".join([*lines, ""])


def _annotations(run: Run) -> Iterator[str]:
    for trial in run.trials:
        outcome = outcome_of(trial)
        if outcome.tone == "good":
            continue
        kind = "error" if outcome.tone == "bad" else "warning"
        message = f"{outcome.long}: {trial.record.reason}" if trial.record.reason else outcome.long
        yield annotation(kind, trial.id, message, file=_file_of(trial))
    for damaged in run.damaged:
        yield annotation("warning", damaged.path.name, damaged.sentence)


def _file_of(trial: StoredTrial) -> str:
    return trial.record.inputs.scenario.partition("::")[0]


def annotation(kind: str, title: str, message: str, *, file: str = "") -> str:
    """Return the line of an annotation; ``kind`` is error, warning or notice."""
    properties = {"file": file, "title": title} if file else {"title": title}
    written = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{kind} {written}::{_data(message)}"


def _data(text: str) -> str:
    return one_line(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def few(lines: Iterable[str]) -> list[str]:
    """Limit the lines of each kind to what GitHub shows; the last one counts the rest."""
    kept: list[str] = []
    counts: dict[str, int] = {}
    for line in lines:
        kind = line[2:].partition(" ")[0]
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] < MOST_ANNOTATIONS:
            kept.append(line)
    more = {kind: count - MOST_ANNOTATIONS + 1 for kind, count in counts.items()}
    return kept + [
        annotation(kind, "more", f"{count} more; see the job's summary")
        for kind, count in more.items()
        if count > 0
    ]


def append_summary(text: str, environ: Mapping[str, str]) -> None:
    """Append Markdown to the job's summary, if there is one; cut where GitHub would refuse it."""
    name = environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    raw = text.encode()
    if len(raw) > MOST_SUMMARY:
        raw = raw[:MOST_SUMMARY].rpartition(b"\n")[0] + b"\n\n(cut: too long for a summary)\n"
    with Path(name).open("ab") as summary:
        summary.write(raw + b"\n")
