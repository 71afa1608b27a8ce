"""A comparison in a GitHub workflow: the job's summary, and an annotation per regression."""

from __future__ import annotations

from collections.abc import Mapping

from harness.report.comparing.comparison_text import sentence_of
from harness.report.comparing.markdown import comparison_markdown
from harness.report.github import annotation, append_summary, few
from harness.results.comparison import Comparison


def comparison_to_github(comparison: Comparison, environ: Mapping[str, str]) -> list[str]:
    """Append the comparison to the job's summary, and return the annotations to print."""
    append_summary(comparison_markdown(comparison), environ)
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    return few(
        annotation("error", "regressed", sentence_of(finding))
        for pairing in comparison.pairings
        for finding in pairing.findings
        if finding.outcome == "regressed"
    )
