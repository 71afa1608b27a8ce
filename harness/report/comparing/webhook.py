"""The changes of a comparison as the JSON body of a webhook.

``text`` is what Slack, Mattermost, Rocket.Chat and similar programs show; the rest is for scripts.
"""

from __future__ import annotations

from typing import Any

from harness.report.comparing.comparison_text import MARKS, headline_of, sentence_of
from harness.results.comparison import Comparison

CHANGED = ("regressed", "different", "improved")
"""The outcomes that are changes."""

_MOST_IN_TEXT = 10


def webhook_payload(comparison: Comparison) -> dict[str, Any]:
    """Return the changes of a comparison as JSON values."""
    lines = []
    changes = []
    for pairing in comparison.pairings:
        lines.append(f"{pairing.candidate} against {comparison.baseline}: {headline_of(pairing)}")
        found = [f for f in pairing.findings if f.outcome in CHANGED]
        lines += [f"{MARKS[f.outcome]} {sentence_of(f)}" for f in found[:_MOST_IN_TEXT]]
        if len(found) > _MOST_IN_TEXT:
            lines.append(f"and {len(found) - _MOST_IN_TEXT} more")
        changes += [
            {
                "candidate": pairing.candidate,
                "scenario": f.scenario,
                "engine": f.engine,
                "measure": f.measure,
                "unit": f.unit,
                "outcome": f.outcome,
                "shift": f.shift,
                "low": f.low,
                "high": f.high,
                "p": f.adjusted,
                "sentence": sentence_of(f),
            }
            for f in found
        ]
    return {
        "text": "\n".join(lines),
        "schema": comparison.schema,
        "baseline": comparison.baseline,
        "candidates": [pairing.candidate for pairing in comparison.pairings],
        "counts": {pairing.candidate: pairing.counts for pairing in comparison.pairings},
        "changed": changes,
    }
