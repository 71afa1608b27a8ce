"""A site of pages about some runs: all in one folder, from a file or a server, no network.

::

    index.html            what ran and how it came out, scenario by engine
    pages/                one page per scenario and per trial, comparison, history
    pages/assets/         what they share: style, script, the charting library

The same runs give the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

from harness.errors import TrialError, UsageError
from harness.report import assets, page_names
from harness.report.pages.overview import overview_page
from harness.report.pages.page_frame import Place
from harness.report.pages.scenario import scenario_page
from harness.report.pages.trial import trial_page
from harness.report.site_model import Entry, Found, Lost, find, read_runs
from harness.results import Run

_MARK = ".swarm-chaos-pages"
Render = Callable[[], str]


class Site:
    """The pages about ``runs``; nothing is read or rendered before it is asked for.

    ``folder`` is where the site will lie: pages link to the trials' files if these lie in it too.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        unreadable: Sequence[Lost] = (),
        folder: Path | None = None,
        served: bool = False,
        live: bool = False,
        store: str = "",
    ) -> None:
        self.found: Found = find(runs, unreadable)
        self._folder = folder.resolve() if folder else None
        self._served, self._live, self._store = served, live, store

    def pages(self) -> Mapping[str, Render]:
        """Each page's path within the site, and how to make it."""
        made: dict[str, Render] = {
            page_names.INDEX: partial(overview_page, self.found, self._at(True))
        }
        inner = self._at(False)
        for scenario in self.found.scenarios:
            made[f"{page_names.PAGES}/{scenario.page}"] = partial(
                scenario_page, self.found, scenario, inner
            )
        if inner.comparison:
            made[f"{page_names.PAGES}/{page_names.COMPARISON}"] = partial(
                _comparison, self.found, inner
            )
        if inner.history:
            made[f"{page_names.PAGES}/{page_names.HISTORY}"] = partial(_history, self.found, inner)
        for entry in (*self.found.entries, *self.found.unfinished):
            made[f"{page_names.PAGES}/{entry.page}"] = partial(
                trial_page, self.found, entry, inner, raw=self._raw(entry)
            )
        return made

    def _at(self, top: bool) -> Place:
        several = len(self.found.runs) > 1
        return Place(
            top=top,
            comparison=several or len(self.found.engines) > 1,
            history=several,
            served=self._served,
            live=self._live,
            store=self._store,
        )

    def _raw(self, entry: Entry) -> str | None:
        folder = entry.trial.folder.resolve()
        if self._folder is None or not folder.is_relative_to(self._folder):
            return None
        return "../" + quote(folder.relative_to(self._folder).as_posix())


def write_site(folders: Sequence[Path], into: Path) -> Path:
    """Write the pages about the runs in ``folders`` into the folder ``into``; returns the index.

    Pages that an earlier call left there go. Raises :class:`~harness.errors.UsageError` for a
    single folder that is no run and for a folder ``into`` whose ``pages/`` is not ours,
    :class:`~harness.errors.TrialError` if something cannot be written.
    """
    runs, lost = read_runs(folders)
    site = Site(runs, unreadable=lost, folder=into)
    pages, half = into / page_names.PAGES, into / f".{page_names.PAGES}.part"
    if pages.exists() and not (pages / _MARK).exists():
        raise UsageError(
            f"{pages} is there and holds no pages of a report",
            hint="name another folder with --into",
        )
    try:
        shutil.rmtree(half, ignore_errors=True)
        (half / "assets").mkdir(parents=True)
        (half / _MARK).touch()
        for name, content in shared_files():
            (half / "assets" / name).write_bytes(content())
        made = dict(site.pages())
        index = made.pop(page_names.INDEX)
        for path, render in made.items():
            (half / Path(path).name).write_text(render(), encoding="utf-8")
        shutil.rmtree(pages, ignore_errors=True)
        half.replace(pages)
        return _replace(into / page_names.INDEX, index())
    except OSError as error:
        raise TrialError(f"cannot write the report into {into}: {error.strerror}") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _comparison(found: Found, place: Place) -> str:
    # On use: the statistics behind it take longer to load than most pages to render.
    from harness.report.pages.comparison import comparison_page, comparisons_of

    return comparison_page(found, comparisons_of(found.runs), place)


def _history(found: Found, place: Place) -> str:
    from harness.report.pages.history import history_page

    return history_page(found, place)


def shared_files() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """What lies in ``pages/assets``: names, and how to get the bytes."""
    for name in (assets.STYLE, assets.SCRIPT):
        yield name, partial(_bytes, name)
    yield assets.library_name(), assets.library().read_bytes


def _bytes(name: str) -> bytes:
    return assets.text_of(name).encode()


def _replace(target: Path, text: str) -> Path:
    half = target.with_name(f".{target.name}.part")
    half.write_text(text, encoding="utf-8")
    half.replace(target)
    return target
