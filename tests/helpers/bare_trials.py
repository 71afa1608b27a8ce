"""A trial of nothing in particular, for tests of what needs one to write to."""

from __future__ import annotations

from pathlib import Path

from harness.trial import EngineFacts, Trial, TrialInputs


def bare_trial(folder: Path) -> Trial:
    """An open trial in ``folder``, of no scenario; whoever opens it finishes it."""
    engine = EngineFacts(name="stable", version="26.1.5", source="", digest="")
    inputs = TrialInputs(
        scenario="", engine=engine, topology="", lab="", kernel="", clock="real", seed=1
    )
    return Trial(folder, inputs)
