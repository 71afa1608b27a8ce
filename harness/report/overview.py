"""The overview of a run: trials by outcome, and scenarios by engine."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import msgspec

from harness.report.formatting import bound_of, quantity, standing_of, value_of
from harness.results.run import StoredTrial
from harness.results.scenario_names import short_name
from harness.results.versions import by_version
from harness.trial import Measure, TrialInputs, as_expected

_MOST_KEY_MEASURES = 3
_MOST_CHIPS = 60
_TONES = ("bad", "unknown", "good")
_WORDS = {"good": "as expected", "bad": "not as expected", "unknown": "unknown"}


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: ``tone`` is good, bad or unknown; ``word`` and ``long`` describe it."""

    tone: str
    mark: str
    word: str
    long: str


_GOOD = Outcome("good", "✓", "pass", "passed")
_BAD = Outcome("bad", "✗", "fail", "failed")
_UNKNOWN = Outcome("unknown", "?", "unknown", "gave no verdict")
_GOOD_CONTROL = Outcome("good", "✓", "fails, as it must", "failed, as a control must")
_BLIND_CONTROL = Outcome(
    "bad", "✗", "passes: check is blind", "passed, so the check cannot detect this fault"
)
_ASTRAY_CONTROL = Outcome(
    "bad", "✗", "fails by other measures", "failed, but not by the measures that must break"
)
_KNOWN_BUG = Outcome("good", "✓", "fails: known bug", "failed because of a known bug of its engine")
_BUG_GONE = Outcome(
    "bad", "✗", "passes: bug gone", "passed although a known bug should make it fail"
)


def outcome_of(trial: StoredTrial) -> Outcome:
    """Return the outcome of a trial; controls and trials with a known bug are to fail."""
    record = trial.record
    control, known = record.inputs.control, bool(record.known_bugs)
    match as_expected(record):
        case None:
            return _UNKNOWN
        case True if control:
            return _GOOD_CONTROL
        case True:
            return _KNOWN_BUG if known else _GOOD
        case False if not control:
            return _BUG_GONE if known and record.verdict == "pass" else _BAD
        case False:
            return _BLIND_CONTROL if trial.record.verdict == "pass" else _ASTRAY_CONTROL


@dataclass(frozen=True)
class KeyMeasure:
    """A measure in the overview: of one trial its value, of several their median and range."""

    name: str
    value: str
    spread: str
    bound: str
    standing: str
    remark: str


@dataclass(frozen=True)
class Cell:
    """All trials of one scenario on one engine, and what is most worth knowing of them."""

    trials: tuple[StoredTrial, ...]
    measures: tuple[KeyMeasure, ...]

    @property
    def shown(self) -> tuple[StoredTrial, ...]:
        """The trials that get a link of their own in the cell: the worst, if there are many."""
        by_seed = sorted(self.trials, key=lambda t: (t.record.inputs.seed, t.id))
        if len(by_seed) <= _MOST_CHIPS:
            return tuple(by_seed)
        ranked = sorted(by_seed, key=lambda t: _TONES.index(outcome_of(t).tone))
        return tuple(ranked[:_MOST_CHIPS])

    @property
    def counts(self) -> tuple[tuple[Outcome, int], ...]:
        """How many trials had each outcome, the worst first."""
        counts = Counter(outcome_of(t) for t in self.trials)
        return tuple(sorted(counts.items(), key=lambda c: _TONES.index(c[0].tone)))


@dataclass(frozen=True)
class Row:
    """A scenario (or its control) over the engines; a cell is None where nothing ran."""

    scenario: str
    name: str
    title: str
    parameters: str
    control: bool
    cells: tuple[Cell | None, ...]

    @property
    def outcomes(self) -> str:
        """How its trials came out, to filter by."""
        tones = {outcome_of(t).tone for cell in self.cells if cell for t in cell.trials}
        return "|".join(_WORDS[tone] for tone in _TONES if tone in tones)


@dataclass(frozen=True)
class Matrix:
    """Scenarios by engines."""

    engines: tuple[str, ...]
    rows: tuple[Row, ...]


def parameters_of(scenario: str) -> str:
    """Return what tells a scenario from others of the same title, "" if it has no parameters."""
    return short_name(scenario).removesuffix("]").partition("[")[2]


def title_of(trial: StoredTrial) -> str:
    """Return what a trial is called in headings."""
    return trial.record.title.rstrip(". ") or short_name(trial.record.inputs.scenario)


def rerun_command(inputs: TrialInputs) -> str:
    """Return the command line that runs a trial again from its inputs.

    A scenario's own parameters are chosen by ``-k``: engine and seed are in pytest's brackets
    too, so the id alone would find nothing.
    """
    test = inputs.scenario.partition("[")[0]
    parameters = parameters_of(inputs.scenario)
    return shlex.join(
        [
            "pytest",
            test,
            *(("-k", " and ".join(parameters.split("-"))) if parameters else ()),
            *("--engine", _engine_argument(inputs)),
            *("--seed", str(inputs.seed)),
            *("--lab", inputs.lab),
            *(("--controls",) if inputs.control else ()),
        ]
    )


def _engine_argument(inputs: TrialInputs) -> str:
    # An alias such as "stable" moves on; the version stays.
    name = inputs.engine.name
    return name if name.startswith("dir:") else inputs.engine.version


def headline_of(trials: Sequence[StoredTrial], damaged: int = 0) -> str:
    """Summarize trials, the worst first; ``damaged`` more could not be read."""
    tones = [outcome_of(t).tone for t in trials]
    total, bad, unknown = len(tones), tones.count("bad"), tones.count("unknown")
    parts = []
    if bad:
        parts.append(
            f"{bad} of {total} {_trials(total)} {'is' if bad == 1 else 'are'} not as expected"
        )
    if unknown:
        parts.append(f"{unknown} without a verdict")
    if damaged:
        parts.append(f"{damaged} unfinished or damaged")
    if parts and (bad or unknown or not total):
        return ", ".join(parts)
    if parts:
        return f"{total} {_trials(total)} as expected, {parts[0]}"
    if not total:
        return "No trials ran"
    return f"All {total} trials are as expected" if total > 1 else "The trial is as expected"


def matrix_of(trials: Sequence[StoredTrial]) -> Matrix:
    """Scenarios in the order they ran, engines from the oldest to the newest."""
    engines = sorted({t.record.inputs.engine.version for t in trials}, key=by_version)
    cells: dict[tuple[str, bool], dict[str, list[StoredTrial]]] = {}
    for trial in trials:
        given = trial.record.inputs
        row = cells.setdefault((given.scenario, given.control), {})
        row.setdefault(given.engine.version, []).append(trial)
    # A control stands right below what it is the control of.
    order = list(dict.fromkeys(scenario for scenario, _ in cells))
    rows = []
    for scenario, control in sorted(cells, key=lambda c: (order.index(c[0]), c[1])):
        by_engine = cells[scenario, control]
        first = next(iter(by_engine.values()))[0]
        rows.append(
            Row(
                scenario,
                short_name(scenario),
                first.record.title.rstrip(". "),
                parameters_of(scenario),
                control,
                tuple(_cell(by_engine[e]) if e in by_engine else None for e in engines),
            )
        )
    return Matrix(tuple(engines), tuple(rows))


def distinct(values: Iterable[str]) -> str:
    """Different values in order of appearance, in one string."""
    return ", ".join(dict.fromkeys(v for v in values if v))


def _trials(count: int) -> str:
    return "trial" if count == 1 else "trials"


def _cell(trials: Sequence[StoredTrial]) -> Cell:
    by_name: dict[str, list[Measure]] = {}
    for trial in trials:
        for measure in trial.record.measures:
            by_name.setdefault(measure.name, []).append(measure)
    ranked = sorted(by_name.values(), key=_interest)
    return Cell(tuple(trials), tuple(_key_measure(m) for m in ranked[:_MOST_KEY_MEASURES]))


def _interest(measures: Sequence[Measure]) -> int:
    # Broken first, then undecided, then those with a bound; else in the order they were taken.
    if any(m.ok is False for m in measures):
        return 0
    if any(m.value is None or (m.bound and m.ok is None) for m in measures):
        return 1
    return 2 if any(m.bound for m in measures) else 3


def _key_measure(measures: Sequence[Measure]) -> KeyMeasure:
    worst = min(measures, key=lambda m: _interest([m]))
    values = [m.value for m in measures if m.value is not None]
    value, spread = value_of(worst), ""
    if len(measures) > 1 and values:
        # If observation of a trial ended early its true value is larger, and so may be the median.
        censored = any(m.censored for m in measures)
        middle = msgspec.structs.replace(worst, value=median(values), censored=censored)
        low, high = (quantity(v, worst) for v in (min(values), max(values)))
        value = value_of(middle)
        spread = f"median; {low} to {'more than ' if censored else ''}{high}"
    standing = standing_of(worst)
    remark = standing if standing in {"broken", "undecided"} else ""
    if remark and len(measures) > 1:
        times = sum(standing_of(m) == standing for m in measures)
        remark += f" in {times} of {len(measures)}"
    return KeyMeasure(worst.name, value, spread, bound_of(worst), standing, remark)
