"""The live page: the trial that is running on now, and how the run stands."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.jinja_env import jinja_env
from harness.report.live import RunningTrial
from harness.report.overview import headline_of
from harness.report.pages.page_frame import PageFrame, render
from harness.report.pages.trial import content_of
from harness.report.site_model import SiteModel


def live_page(model: SiteModel, running: Sequence[RunningTrial], frame: PageFrame) -> str:
    """Return the page as text."""
    return render("live.html.j2", frame, model, {"now": live_part(model, running)})


def live_part(model: SiteModel, running: Sequence[RunningTrial]) -> str:
    """Return the part of it that changes, as text."""
    done = model.trials
    return (
        jinja_env()
        .get_template("live-part.html.j2")
        .render(
            model=model,
            headline=headline_of(done) if done else "No trial has finished yet",
            running=[(u, content_of(model.runs[0], u.trial)) for u in running],
            done=list(reversed(model.entries))[:10],
        )
    )
