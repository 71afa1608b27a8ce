"""The live page: the trial that is going on now, and how the run stands."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.jinja_env import environment
from harness.report.live import Underway
from harness.report.overview import headline_of
from harness.report.pages.page_frame import Place, render
from harness.report.pages.trial import content_of
from harness.report.site_model import Found


def live_page(found: Found, going: Sequence[Underway], place: Place) -> str:
    """The page as text."""
    return render("live.html.j2", place, found, {"now": live_part(found, going)})


def live_part(found: Found, going: Sequence[Underway]) -> str:
    """The part of it that changes, as text."""
    done = found.trials
    return (
        environment()
        .get_template("live-part.html.j2")
        .render(
            found=found,
            headline=headline_of(done) if done else "No trial has finished yet",
            going=[(u, content_of(found.runs[0], u.trial)) for u in going],
            done=list(reversed(found.entries))[:10],
        )
    )
