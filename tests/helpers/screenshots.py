"""Pictures of the pages, for the documents: ``python tests/helpers/screenshots.py``.

Needs Debian's chromium, and Playwright from the project's development packages.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from synthetic_runs import many_trials, nightly_runs

from harness.errors import HarnessError, MissingError, UsageError
from harness.files import human_size
from harness.report import write_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDTH = 1120
_DRAWN = """() => [...document.querySelectorAll(".chart")].every((chart) => {
    const { top, bottom } = chart.getBoundingClientRect();
    return bottom < 0 || top > innerHeight || chart.dataset.drawn === "yes";
})"""
LARGEST = 200_000
"""Bytes that one picture in the documents may have."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's chromium. :class:`MissingError` if it, or its driver, is not here."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise MissingError("there is no chromium here", hint="apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise MissingError("playwright is not installed", hint="pip install -e '.[dev]'") from None
    # As root it will not start in its sandbox; what it is shown here we wrote ourselves.
    arguments = [] if os.geteuid() else ["--no-sandbox"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


def take(
    browser: Browser, page: Path, to: Path, *, scheme: str = "light", height: int = 900,
    show: str = "",
) -> None:  # fmt: skip
    """Take a picture of ``page``; ``show`` is what to bring to its top, by CSS selector."""
    window = browser.new_page(
        viewport={"width": WIDTH, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    window.goto(page.resolve().as_uri())
    if show:
        window.locator(show).first.scroll_into_view_if_needed()
        window.evaluate("at => document.querySelector(at).scrollIntoView()", show)
    window.wait_for_function(_DRAWN, timeout=120_000)
    window.wait_for_timeout(500)
    window.screenshot(path=to)
    window.close()
    if to.stat().st_size > LARGEST:
        raise UsageError(
            f"{to} has {human_size(to.stat().st_size)}, at most {human_size(LARGEST)} are allowed"
        )


@click.command()
@click.argument("trial", required=False, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--into", default="docs/img", show_default=True, type=click.Path(path_type=Path), help="Folder."
)
@click.option(
    "--engines", type=click.Path(path_type=Path, exists=True),
    help="Instead: pictures of this run, in which engines are compared.",
)  # fmt: skip
def screenshots(trial: Path | None, into: Path, engines: Path | None) -> None:
    """Take pictures of the pages of TRIAL (a folder in its run) and of synthetic runs."""
    into.mkdir(parents=True, exist_ok=True)
    if engines is not None:
        _of_engines(engines.resolve(), into)
        return
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        root = Path(folder)
        site = root / "site"
        write_site([many_trials(root / "one", 40)], site)
        take(browser, site / "index.html", into / "report-overview.png")
        take(
            browser, site / "pages" / "scenario-leader_killed-dockerd.html",
            into / "report-scenario.png", show="#spread-head", height=640,
        )  # fmt: skip
        take(
            browser, site / "pages" / "comparison.html", into / "report-comparison.png", height=760
        )
        nights = root / "nights-site"
        write_site(nightly_runs(root / "nights", 12, trials=8, slower_from=6), nights)
        take(
            browser, nights / "pages" / "history.html", into / "report-history.png",
            show="#trends-head", height=700,
        )  # fmt: skip
        page = site / "pages" / "trial-leader-killed-dockerd.28.5.2.3m2w.s1.html"
        if trial is not None:
            trial = trial.resolve()
            write_site([trial.parents[1]], root / "real")
            page = root / "real" / "pages" / f"trial-{trial.name}.html"
        for scheme in ("light", "dark"):
            take(
                browser, page, into / f"report-trial-{scheme}.png", scheme=scheme,
                show="#timeline-head", height=820,
            )  # fmt: skip
    for path in sorted(into.glob("report-*.png")):
        click.echo(f"{path}  {human_size(path.stat().st_size)}")


def _of_engines(run: Path, into: Path) -> None:
    """Pictures of a run's overview, comparison, and the scenario of `docs/engines.md`."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        site = Path(folder)
        write_site([run], site)
        for name, page, show, height in (
            ("overview", "index.html", "#overview-head", 960),
            ("scenario", "pages/scenario-ports_change.html", "#spread-head", 900),
            ("comparison", "pages/comparison.html", "", 760),
        ):
            if not (site / page).exists():
                raise UsageError(
                    f"{run} gives no page {page}",
                    hint="take a run of several engines with the scenario ports_change in it",
                )
            path = into / f"engines-{name}.png"
            take(browser, site / page, path, show=show, height=height)
            click.echo(f"{path}  {human_size(path.stat().st_size)}")


if __name__ == "__main__":
    try:
        screenshots()
    except HarnessError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
