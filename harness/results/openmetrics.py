"""A run's measures as OpenMetrics text, for Prometheus and compatible tools.

https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from harness.results.run import Run, StoredTrial
from harness.trial import as_expected

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_FAMILIES = {
    "swarm_chaos_measure": "A measure of a trial, in its unit; censored: the true value is larger.",
    "swarm_chaos_measure_limit": "The limit that a measure is checked against.",
    "swarm_chaos_trial_as_expected": "1: the trial went as expected; 0: it did not; NaN: unknown.",
    "swarm_chaos_trial_duration": "The length of the trial on its own clock, in seconds.",
}


def openmetrics(runs: Sequence[Run]) -> str:
    """Return the text: gauges with the run's start as their time, ended by ``# EOF``."""
    lines: list[str] = []
    for family, description in _FAMILIES.items():
        lines += [f"# TYPE {family} gauge", f"# HELP {family} {description}"]
        for run in runs:
            at = _timestamp(run.record.started)
            for trial in run.trials:
                labels = _labels(run, trial)
                for own, value in _points(family, trial):
                    lines.append(f"{family}{_label_set({**labels, **own})} {_number(value)}{at}")
    return "\n".join([*lines, "# EOF", ""])


def _labels(run: Run, trial: StoredTrial) -> dict[str, str]:
    given = trial.record.inputs
    return {
        "run": run.record.id,
        "trial": trial.id,
        "scenario": given.scenario,
        "control": str(given.control).lower(),
        "engine": given.engine.version,
        "topology": given.topology,
        "lab": given.lab,
        "kernel": given.kernel,
        "clock": given.clock,
        "seed": str(given.seed),
    }


def _points(family: str, trial: StoredTrial) -> Iterator[tuple[Mapping[str, str], float]]:
    record = trial.record
    match family:
        case "swarm_chaos_measure":
            for m in record.measures:
                if m.value is not None:
                    own = {"measure": m.name, "unit": m.unit, "censored": str(m.censored).lower()}
                    yield own, m.value
        case "swarm_chaos_measure_limit":
            for m in record.measures:
                if m.bound is not None:
                    yield {"measure": m.name, "unit": m.unit, "op": m.bound.op}, m.bound.limit
        case "swarm_chaos_trial_as_expected":
            good = as_expected(record)
            yield {"verdict": record.verdict}, float("nan") if good is None else float(good)
        case _:
            yield {}, record.seconds


def _label_set(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inside}}}"


def _escaped(value: str) -> str:
    plain = "".join(_unbroken(value))
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _unbroken(value: str) -> Iterable[str]:
    """Yield characters, without any that break the line or are not valid UTF-8."""
    for char in value:
        yield "\ufffd" if 0xD800 <= ord(char) <= 0xDFFF or char in "\r\0" else char


def _number(value: float) -> str:
    return "NaN" if value != value else f"{value:.12g}"


def _timestamp(started: str) -> str:
    try:
        when = datetime.fromisoformat(started)
    except ValueError:
        return ""
    return f" {when.replace(tzinfo=when.tzinfo or UTC).timestamp():.0f}"
