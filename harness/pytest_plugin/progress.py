"""Lines of progress: a trial's journal, as people want to see it while it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.trial import Trial, oracles

#: Journal entries that people want to see as they happen, and how they read.
_SHOWN = {
    "lab.ready": "nodes are up: {nodes}",
    "swarm.formed": "swarm formed, {leader} leads",
    "workload.deployed": "{workload} serves",
    "load.start": "load: {users} users",
    "load.stop": "load stopped: {requests} requests",
    "fault.inject": "inject {fault} on {target}",
    "fault.healed": "healed: {proof}",
    "leader": "{leader} leads now",
    "note": "note: {text}",
    "doubt": "doubt: {reason}",
    "measure": "measured {name}: {measured}",
}


class Progress:
    """Shows lines of progress through ``say``."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def watch(self, trial: Trial) -> None:
        """Show a trial's journal as it is written."""
        trial.journal.listen(self._entry)

    def _entry(self, entry: dict[str, Any]) -> None:
        template = _SHOWN.get(entry["kind"])
        if template is None or _kept_oracle(entry):
            return
        facts = {**entry, "target": entry.get("target", ""), "measured": _measured(entry)}
        if isinstance(facts.get("nodes"), dict):
            facts["nodes"] = ", ".join(facts["nodes"])
        self.say(f"{entry['t']:8.2f} s  {template.format(**facts)}")


def _kept_oracle(entry: dict[str, Any]) -> bool:
    """Whether an entry is one of the many lines that all is as it must be in every trial."""
    return entry.get("name") in oracles.NAMES and entry.get("value") == 0


def _measured(entry: dict[str, Any]) -> str:
    """Return a measure's value as people read it: four digits, and no unit where it is a share."""
    value, unit = entry.get("value"), entry.get("unit", "")
    if value is None:
        return "nothing"
    longer = "more than " if entry.get("censored") else ""
    return f"{longer}{value:.4g}{'' if unit == '1' else f' {unit}'}"
