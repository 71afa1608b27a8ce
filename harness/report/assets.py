"""The shared files of a site: style, script, and the charting library.

The library is taken from the installed ``plotly`` package and written into a site once; nothing
is loaded from anywhere else.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from harness.errors import MissingError

STYLE, SCRIPT, LIVE = "report.css", "report.js", "live.js"


def text_of(name: str) -> str:
    """Return a file of the report's own templates."""
    return Path(__file__).with_name("templates").joinpath(name).read_text(encoding="utf-8")


@cache
def library_name() -> str:
    """Return the charting library's file name, with its version: browsers may cache it forever."""
    return f"plotly-{version('plotly')}.min.js"


def library() -> Path:
    """Return the charting library in the installed package.

    :class:`~harness.errors.MissingError` if the package is there without it.
    """
    # Not imported: the package's Python side is not needed, and slow to load.
    spec = find_spec("plotly")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path
    raise MissingError(
        "the plotly package lacks package_data/plotly.min.js, which draws the charts",
        hint="reinstall it: pip install --force-reinstall plotly",
    )
