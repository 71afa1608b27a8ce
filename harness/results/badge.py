"""A badge that summarizes a run: an SVG, or the JSON that shields.io reads.

https://shields.io/badges/endpoint-badge
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from harness.results.run import Run
from harness.trial import as_expected

LABEL = "swarm chaos"

# Of the text at 11 px; close enough for digits and lower case of the fonts named below.
_PIXELS_A_LETTER = 6.6
_PADDING = 10

_HEX = {"brightgreen": "#2d7d46", "red": "#b0360c", "orange": "#9a6700", "lightgrey": "#59626d"}


@dataclass(frozen=True)
class Badge:
    """The message, and the colour as shields.io names it."""

    message: str
    colour: str

    def as_json(self) -> dict[str, object]:
        """Return what shields.io's endpoint badge reads."""
        return {
            "schemaVersion": 1,
            "label": LABEL,
            "message": self.message,
            "color": self.colour,
            "isError": self.colour == "red",
        }

    def as_svg(self) -> str:
        """Return a picture that needs no font, no network and no script."""
        left = round(len(LABEL) * _PIXELS_A_LETTER + 2 * _PADDING)
        right = round(len(self.message) * _PIXELS_A_LETTER + 2 * _PADDING)
        label = escape(f"{LABEL}: {self.message}")
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" '
            f'role="img" aria-label="{label}"><title>{label}</title>'
            f'<clipPath id="r"><rect width="{left + right}" height="20" rx="3"/></clipPath>'
            f'<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#3b424a"/>'
            f'<rect x="{left}" width="{right}" height="20" fill="{_HEX[self.colour]}"/></g>'
            '<g fill="#fff" text-anchor="middle" font-size="11" '
            'font-family="Verdana,DejaVu Sans,Geneva,sans-serif">'
            f'<text x="{left / 2:g}" y="14" textLength="{left - 2 * _PADDING}">{LABEL}</text>'
            f'<text x="{left + right / 2:g}" y="14" textLength="{right - 2 * _PADDING}">'
            f"{escape(self.message)}</text></g></svg>\n"
        )


def badge_of(run: Run) -> Badge:
    """Return the badge of a run: red for anything not as expected, never green for unknown."""
    outcomes = [as_expected(trial.record) for trial in run.trials]
    total, bad = len(outcomes), outcomes.count(False)
    unknown = outcomes.count(None) + len(run.damaged)
    if bad:
        return Badge(f"{bad} of {total} not as expected", "red")
    if unknown:
        return Badge(f"{unknown} of {total + len(run.damaged)} unknown", "orange")
    if not total:
        return Badge("no trials", "lightgrey")
    return Badge(f"{total} as expected", "brightgreen")
