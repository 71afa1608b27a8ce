"""The pages in a real browser: opened, filtered, followed, printed, audited."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# These wait for what a page is to become; a state that is only read may be the one of before.
expect: Any = pytest.importorskip("playwright.sync_api").expect

TRIAL = "pages/trial-leader-killed-dockerd.28.5.2.3m2w.s1.html"
SCENARIO = "pages/scenario-leader_killed-dockerd.html"


def drawn(page: Any, selector: str = ".chart") -> None:
    """Wait until the chart is there."""
    page.wait_for_selector(f"{selector}[data-drawn=yes] .main-svg", timeout=20_000)


def audit(page: Any) -> Any:
    """What axe has to say against the page, WCAG 2.2 AA and good practice."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    # Preloading would fetch the style sheet again, which the page's policy rightly forbids.
    options = {"resultTypes": ["violations"], "preload": False}
    found = axe.Axe().run(page, options=options).response["violations"]
    return [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found]


def test_from_the_overview_to_a_trial_and_on_to_the_next(
    visit: Callable[..., Any], run: Path
) -> None:
    page = visit(run / "index.html")
    expect(page.locator("h1")).to_contain_text("1 of 7 trials is not as expected")
    page.get_by_role("link", name=re.compile("engine 28.5.2, seed 1: passed")).first.click()
    drawn(page)
    expect(page.get_by_text("time to a new leader").first).to_be_visible()
    page.get_by_role("link", name="The scenario, all 3 trials").click()
    drawn(page, "#spread-1")
    expect(page.get_by_role("heading", name="What is expected, and why")).to_be_visible()
    page.get_by_role("link", name="26.1.5, seed 1").click()
    page.get_by_role("link", name=re.compile("^Next trial")).click()
    expect(page).to_have_title(re.compile("28.5.2"))
    page.get_by_role("link", name="Comparison").click()
    expect(page.locator("h1")).to_have_text("Comparison")


def test_the_overview_can_be_filtered(visit: Callable[..., Any], run: Path) -> None:
    page = visit(run / "index.html")
    trials = page.locator("details[data-filterable]")
    trials.get_by_label("Outcome").select_option("not as expected")
    expect(trials.locator("output")).to_have_text("1 of 7 shown")
    trials.get_by_label("Outcome").select_option("")
    trials.get_by_label("Containing").fill("28.5.2 dockerd")
    expect(trials.locator("tbody tr:visible")).to_have_count(1)


def test_events_follow_the_time_that_the_chart_shows(visit: Callable[..., Any], run: Path) -> None:
    page = visit(run / TRIAL)
    drawn(page)
    page.get_by_text("Events and logs").first.click()
    events = page.locator("details[data-filterable]")
    everything = events.locator("tbody tr:visible").count()
    assert everything > 20
    events.get_by_label("Kind").select_option("fault")
    expect(events.locator("tbody tr:visible")).to_have_count(4)
    events.get_by_label("Kind").select_option("")
    events.get_by_label("From").select_option("m2")
    expect(events.locator("tbody tr:visible td:nth-child(2)").first).to_have_text("m2")
    events.get_by_label("From").select_option("")
    events.get_by_label("Only the time shown").check()
    page.get_by_role("button", name="Around kill dockerd: m1").click()
    page.wait_for_function("document.querySelector('form.range output').textContent !== ''")
    times = [
        float(cell) for cell in events.locator("tbody tr:visible td:first-child").all_inner_texts()
    ]
    assert 0 < len(times) < everything
    assert min(times) >= 20.0
    assert max(times) <= 64.0


def test_the_time_axis_moves_by_keyboard(visit: Callable[..., Any], run: Path) -> None:
    page = visit(run / TRIAL)
    drawn(page)
    said = page.locator("form.range output")
    page.get_by_role("button", name="Closer").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('form.range output').textContent !== ''")
    closer = said.inner_text()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "was => document.querySelector('form.range output').textContent !== was", arg=closer
    )
    page.get_by_role("button", name="Whole trial").click()
    page.wait_for_function(
        "document.querySelector('form.range output').textContent.startsWith('6.0 s to 74.2')"
    )


def test_a_point_leads_to_its_trial(visit: Callable[..., Any], run: Path) -> None:
    page = visit(run / SCENARIO)
    drawn(page, "#spread-1")
    page.locator("#spread-1 .scatterlayer .point").first.click(force=True)
    page.wait_for_url(re.compile("/pages/trial-leader-killed-dockerd"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["index.html", TRIAL, SCENARIO, "pages/comparison.html"])
def test_pages_pass_an_accessibility_audit(
    visit: Callable[..., Any], run: Path, path: str, scheme: str
) -> None:
    page = visit(run / path, color_scheme=scheme)
    if ".chart" in page.content() and page.locator(".chart").count():
        drawn(page)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert audit(page) == []


def test_the_history_passes_the_audit_and_tells_of_the_change(
    visit: Callable[..., Any], nights: Path
) -> None:
    page = visit(nights / "pages" / "history.html")
    drawn(page)
    expect(page.locator("header .verdict")).to_contain_text("changed at some run")
    assert page.locator(".change").count() >= 1
    assert audit(page) == []


FIRST_FILL = "getComputedStyle(document.querySelector('.barlayer .point path')).fill"


def test_charts_take_the_colours_of_the_scheme(visit: Callable[..., Any], run: Path) -> None:
    fills = {}
    for scheme in ("light", "dark"):
        page = visit(run / TRIAL, color_scheme=scheme)
        drawn(page)
        fills[scheme] = page.evaluate(FIRST_FILL)
    assert fills["light"] != fills["dark"]
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"was => {FIRST_FILL} === was", arg=fills["light"])


def test_a_page_prints_with_its_chart_on_light_paper(
    visit: Callable[..., Any], run: Path, tmp_path: Path
) -> None:
    page = visit(run / TRIAL, color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    drawn(page)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pdf = page.pdf(path=tmp_path / "trial.pdf", format="A4")
    assert pdf.startswith(b"%PDF")


def test_nothing_is_wider_than_a_narrow_screen(visit: Callable[..., Any], run: Path) -> None:
    for path in ("index.html", TRIAL, SCENARIO, "pages/comparison.html"):
        page = visit(run / path, viewport={"width": 380, "height": 800})
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 380, path


def test_without_scripts_the_numbers_are_there(visit: Callable[..., Any], run: Path) -> None:
    page = visit(run / TRIAL, java_script_enabled=False)
    expect(page.get_by_text("9.8 s").first).to_be_visible()
    expect(page.get_by_text("1,200 requests from 9.5 s")).to_be_visible()


def test_a_hundred_trials_open_in_two_seconds(visit: Callable[..., Any], big_run: Path) -> None:
    taken = []
    for _ in range(4):  # the first is the browser's warming up; a busy machine has quiet moments
        began = time.monotonic()
        page = visit(big_run / "index.html")
        page.wait_for_function("document.querySelector('form[role=search]:not([hidden])') !== null")
        taken.append(time.monotonic() - began)
    expect(page.locator("details[data-filterable] tbody tr")).to_have_count(100)
    assert min(taken) < 2.0


@pytest.mark.parametrize("width", [1280, 390])
def test_every_value_of_a_comparison_and_a_trial_is_in_sight(
    visit: Callable[..., Any], nights: Path, width: int
) -> None:
    size = {"viewport": {"width": width, "height": 900}}
    trial = next((nights / "pages").glob("trial-*.html"))
    for page_file in (nights / "pages" / "comparison.html", trial):
        page = visit(page_file, **size)
        for table in page.locator("table.findings, table.measures").all():
            assert table.evaluate("t => t.scrollWidth <= t.parentElement.clientWidth + 1")
    expect(page.locator(".scroll-hint").first).to_be_visible(visible=width == 390)
