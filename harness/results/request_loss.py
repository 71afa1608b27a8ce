"""The share of requests lost over the trials of a scenario, resampled by trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from harness.results.run import Run
from harness.results.samples import samples
from harness.results.statistics.rates import rate_of
from harness.results.usable import is_usable
from harness.results.versions import by_version

#: Outcomes of samples/requests.jsonl; "client" is a failure of the load generator itself.
KINDS = {
    "lost": frozenset({"5xx", "4xx", "refused", "reset", "timeout", "unreachable"}),
    "50x": frozenset({"5xx"}),
    "connection errors": frozenset({"refused", "reset", "timeout", "unreachable"}),
}


class RequestLoss(msgspec.Struct, frozen=True, kw_only=True):
    """The share of requests that ended in one way, with its 95 % interval.

    With fewer than 4 trials the interval is 0 to 1.
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


def request_losses(runs: Sequence[Run]) -> tuple[RequestLoss, ...]:
    """Return the losses by scenario, engine, topology, lab and clock over trials with requests."""
    counts: dict[tuple[str, bool, str, str, str, str], list[Counter[str]]] = {}
    for run in runs:
        for trial in run.trials:
            given = trial.record.inputs
            rows = samples(trial.folder, "requests").rows
            outcomes = Counter(str(row.get("outcome")) for row in rows)
            del outcomes["client"]
            if is_usable(trial.record) and outcomes.total():
                where = (
                    given.scenario,
                    given.control,
                    given.engine.version,
                    given.topology,
                    given.lab,
                    given.clock,
                )
                counts.setdefault(where, []).append(outcomes)
    found = []
    for key, trials in sorted(counts.items(), key=lambda c: (c[0][:2], by_version(c[0][2]), c[0])):
        for kind, lost in KINDS.items():
            pairs = [(sum(t[outcome] for outcome in lost), t.total()) for t in trials]
            rate = rate_of(pairs)
            scenario, control, engine, topology, lab, clock = key
            found.append(
                RequestLoss(
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
