"""Trials of no scenario, for what needs one to write to."""

from __future__ import annotations

from pathlib import Path

from harness.engine import Engine
from harness.trial import EngineFacts, Trial, TrialClock, TrialInputs


def open_trial(
    folder: Path,
    engine: Engine | None = None,
    *,
    control: bool = False,
    clock: TrialClock | None = None,
) -> Trial:
    """Open a trial of the scenario "bench"; ``engine`` None: of no engine at all."""
    facts = EngineFacts(name="none", version="0", source="", digest="")
    if engine is not None:
        facts = EngineFacts(
            name=engine.name, version=engine.version, source=engine.source, digest=engine.digest
        )
    inputs = TrialInputs(
        scenario="bench",
        control=control,
        engine=facts,
        topology="",
        lab="namespaces",
        kernel="",
        clock="real",
        seed=1,
    )
    return Trial(folder, inputs, clock=clock)
