"""The frame of every page: its navigation and shared files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from harness.report.assets import LIVE, SCRIPT, STYLE, library_name, text_of
from harness.report.jinja_env import jinja_env
from harness.report.page_names import COMPARISON, HISTORY, INDEX, PAGES
from harness.report.site_model import SiteModel

#: Only what lies next to the page, by file or by the server that sent it; nothing from elsewhere.
POLICY = (
    "default-src 'none'; style-src 'self' file: 'unsafe-inline'; script-src 'self' file:; "
    "img-src 'self' file: data:; connect-src {connect}; base-uri 'none'; form-action {form}"
)


@dataclass(frozen=True)
class PageFrame:
    """The links from a page to the others.

    ``top``: the page is the site's index. ``comparison`` and ``history``: there are such pages.
    ``served``: a server sent it, and ``run_list`` is the way to its list of runs.
    """

    top: bool
    comparison: bool = False
    history: bool = False
    served: bool = False
    live: bool = False
    run_list: str = ""

    @property
    def home(self) -> str:
        """The way to the index."""
        return INDEX if self.top else f"../{INDEX}"

    @property
    def to(self) -> str:
        """What to put before a page's name."""
        return f"{PAGES}/" if self.top else ""

    @property
    def assets(self) -> str:
        """What to put before an asset's name."""
        return f"{self.to}assets/"

    @property
    def policy(self) -> str:
        """The content security policy."""
        mine = "'self'" if self.served else "'none'"
        return POLICY.format(connect=mine, form=mine)


def render(template: str, frame: PageFrame, model: SiteModel, context: Mapping[str, Any]) -> str:
    """Return a page as text."""
    return (
        jinja_env()
        .get_template(template)
        .render(
            frame=frame,
            model=model,
            comparison_page=COMPARISON,
            history_page=HISTORY,
            inline_style=Markup(text_of(STYLE)) if frame.top else None,
            style=STYLE,
            script=SCRIPT,
            live_script=LIVE,
            library=library_name(),
            **context,
        )
    )
