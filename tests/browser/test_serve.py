"""The served store in a real browser: choosing runs, files, and a run under way."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import STARTED, inputs, many_trials

from harness.results import RunWriter
from harness.trial import Trial

expect: Any = pytest.importorskip("playwright.sync_api").expect


def test_runs_are_listed_opened_and_looked_at_together(
    visit: Callable[..., Any], serve: Callable[..., str], tmp_path: Path
) -> None:
    for night in range(2):
        many_trials(tmp_path, 4, started=STARTED + timedelta(days=night))
    page = visit(serve(tmp_path))
    expect(page.locator("h1")).to_have_text("2 runs")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Show the chosen runs together").click()
    page.wait_for_url(re.compile(r"/runs/20261123T004500Z\+20261124T004500Z/index.html"))
    page.get_by_role("link", name="History").click()
    expect(page.locator("h1")).to_have_text("History of 2 runs")
    page.get_by_role("link", name="All runs").click()
    page.get_by_role("link", name="20261124T004500Z", exact=True).click()
    page.get_by_role("link", name=re.compile("engine 28.5.2, seed 1")).first.click()
    page.wait_for_selector(".chart[data-drawn=yes]")
    page.locator("summary", has_text="Files").click()
    page.get_by_role("link", name="journal.jsonl").click()
    expect(page.locator("body")).to_contain_text('"kind":"trial.start"')


def test_a_trial_under_way_is_followed_live(
    visit: Callable[..., Any], serve: Callable[..., str], tmp_path: Path
) -> None:
    writer = RunWriter.create(tmp_path, command=["pytest"], harness="0")
    given = inputs()
    trial = Trial(writer.trial_folder(given), given)
    with closing(trial.journal):
        trial.journal.write("swarm.formed", managers=["m1"], workers=["w1"], leader="m1")
        page = visit(serve(tmp_path))
        page.get_by_role("link", name="running", exact=True).click()
        expect(page.get_by_text("1 trial is running")).to_be_visible()
        page.wait_for_selector(".chart[data-drawn=yes]")
        trial.journal.write("note", text="something new")
        page.get_by_text("something new").wait_for(timeout=10_000)
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Resume").click()
        trial.finish(None, title="It is over")
        page.get_by_text("No trial is running").wait_for(timeout=10_000)
        page.get_by_role("link", name=re.compile("It is over")).click()
        expect(page.locator("h1")).to_contain_text("It is over")
