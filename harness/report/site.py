"""A site of pages about some runs: in one folder, read from files or a server, without network.

::

    index.html            what ran and how it came out, scenario by engine
    pages/                one page per scenario and per trial, comparison, history
    pages/assets/         what they share: style, script, the charting library

The same runs give byte-identical pages.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

from harness.errors import TrialError, UsageError
from harness.files import write_atomically
from harness.report.assets import SCRIPT, STYLE, library, library_name, text_of
from harness.report.page_names import COMPARISON, HISTORY, INDEX, PAGES
from harness.report.pages.overview import overview_page
from harness.report.pages.page_frame import PageFrame
from harness.report.pages.scenario import scenario_page
from harness.report.pages.trial import trial_page
from harness.report.site_model import Entry, SiteModel, Unreadable, build_model, read_runs
from harness.results import Run

_MARK = ".swarm-chaos-pages"
Render = Callable[[], str]


class Site:
    """The pages about ``runs``; each is rendered on request.

    ``folder`` is where the site will be: pages link to the trials' files if these are in it too.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        unreadable: Sequence[Unreadable] = (),
        folder: Path | None = None,
        served: bool = False,
        live: bool = False,
        run_list: str = "",
    ) -> None:
        self.model: SiteModel = build_model(runs, unreadable)
        self._folder = folder.resolve() if folder else None
        self._served, self._live, self._run_list = served, live, run_list

    def pages(self) -> Mapping[str, Render]:
        """Return each page's path within the site, and the function that renders it."""
        made: dict[str, Render] = {INDEX: partial(overview_page, self.model, self._at(True))}
        inner = self._at(False)
        for scenario in self.model.scenarios:
            made[f"{PAGES}/{scenario.page}"] = partial(scenario_page, self.model, scenario, inner)
        if inner.comparison:
            made[f"{PAGES}/{COMPARISON}"] = partial(_comparison, self.model, inner)
        if inner.history:
            made[f"{PAGES}/{HISTORY}"] = partial(_history, self.model, inner)
        for entry in (*self.model.entries, *self.model.unfinished):
            made[f"{PAGES}/{entry.page}"] = partial(
                trial_page, self.model, entry, inner, raw=self._raw(entry)
            )
        return made

    def _at(self, top: bool) -> PageFrame:
        several = len(self.model.runs) > 1
        return PageFrame(
            top=top,
            comparison=several or len(self.model.engines) > 1,
            history=several,
            served=self._served,
            live=self._live,
            run_list=self._run_list,
        )

    def _raw(self, entry: Entry) -> str | None:
        folder = entry.trial.folder.resolve()
        if self._folder is None or not folder.is_relative_to(self._folder):
            return None
        return "../" + quote(folder.relative_to(self._folder).as_posix())


def write_site(folders: Sequence[Path], into: Path) -> Path:
    """Write the pages about the runs in ``folders`` into the folder ``into``; returns the index.

    Removes the pages of an earlier call. Raises :class:`~harness.errors.UsageError` for a
    single folder that is not a run and for a folder ``into`` whose ``pages/`` is not ours,
    :class:`~harness.errors.TrialError` if something cannot be written.
    """
    runs, unreadable = read_runs(folders)
    site = Site(runs, unreadable=unreadable, folder=into)
    pages, half = into / PAGES, into / f".{PAGES}.part"
    if pages.exists() and not (pages / _MARK).exists():
        raise UsageError(
            f"{pages} exists and does not contain a report",
            hint="name another folder with --into",
        )
    try:
        shutil.rmtree(half, ignore_errors=True)
        (half / "assets").mkdir(parents=True)
        (half / _MARK).touch()
        for name, content in shared_files():
            (half / "assets" / name).write_bytes(content())
        made = dict(site.pages())
        index = made.pop(INDEX)
        for path, render in made.items():
            (half / Path(path).name).write_text(render(), encoding="utf-8")
        shutil.rmtree(pages, ignore_errors=True)
        half.replace(pages)
        write_atomically(into / INDEX, index())
    except OSError as error:
        raise TrialError(f"cannot write the report into {into}: {error.strerror}") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return into / INDEX


def _comparison(model: SiteModel, frame: PageFrame) -> str:
    # On use: the statistics behind it take longer to load than most pages to render.
    from harness.report.pages.comparison import comparison_page, comparisons_of

    return comparison_page(model, comparisons_of(model.runs), frame)


def _history(model: SiteModel, frame: PageFrame) -> str:
    from harness.report.pages.history import history_page

    return history_page(model, frame)


def shared_files() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield the files of ``pages/assets``: names, and functions that return the contents."""
    for name in (STYLE, SCRIPT):
        yield name, partial(_bytes, name)
    yield library_name(), library().read_bytes


def _bytes(name: str) -> bytes:
    return text_of(name).encode()
