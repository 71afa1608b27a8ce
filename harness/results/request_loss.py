"""What share of requests was lost, over the trials of a scenario: drawn again by trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from harness.results.comparable import is_believed
from harness.results.run import Run
from harness.results.samples import samples
from harness.results.statistics.rates import rate_of
from harness.results.versions import by_version

#: Outcomes of samples/requests.jsonl; "client" is trouble of the load generator's own.
KINDS = {
    "50x": frozenset({"5xx"}),
    "connection errors": frozenset({"refused", "reset", "timeout", "unreachable"}),
}


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """The share of requests that ended in one way, with its 95 % interval.

    With fewer than 4 trials the interval is all there is: 0 to 1.
    """

    scenario: str
    control: bool
    engine: str
    topology: str
    lab: str
    clock: str
    kind: str
    share: float
    low: float
    high: float
    trials: int
    requests: int


def losses_of(runs: Sequence[Run]) -> tuple[Loss, ...]:
    """Losses by scenario, engine, topology, lab and clock, over the trials that sent requests."""
    counts: dict[tuple[str, bool, str, str, str, str], list[Counter[str]]] = {}
    for run in runs:
        for trial in run.trials:
            given = trial.record.inputs
            rows = samples(trial.folder, "requests").rows
            told = Counter(str(row.get("outcome")) for row in rows)
            del told["client"]
            if is_believed(trial.record) and told.total():
                where = (
                    given.scenario,
                    given.control,
                    given.engine.version,
                    given.topology,
                    given.lab,
                    given.clock,
                )
                counts.setdefault(where, []).append(told)
    found = []
    for key, trials in sorted(counts.items(), key=lambda c: (c[0][:2], by_version(c[0][2]), c[0])):
        for kind, outcomes in KINDS.items():
            pairs = [(sum(t[outcome] for outcome in outcomes), t.total()) for t in trials]
            rate = rate_of(pairs)
            scenario, control, engine, topology, lab, clock = key
            found.append(
                Loss(
                    scenario=scenario,
                    control=control,
                    engine=engine,
                    topology=topology,
                    lab=lab,
                    clock=clock,
                    kind=kind,
                    share=rate.share,
                    low=rate.low,
                    high=rate.high,
                    trials=rate.trials,
                    requests=sum(total for _, total in pairs),
                )
            )
    return tuple(found)
