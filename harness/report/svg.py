"""From matplotlib's SVG file to a picture that is part of a page.

Stand-in colours become CSS variables, fonts the page's own, ids unique within the page; file
headers, metadata and sub-pixel digits go. What comes out depends on the figure alone.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from harness.report.theme import VARIABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_FONT = re.compile(r"font: (?:(?:normal|italic) )?(?:(bold|[1-9]00) )?([\d.]+px) [^;\"]+")
_FONT_FAMILY = re.compile(r"font-family: [^;\"]+;?\s*")
_STAND_IN = re.compile("|".join(VARIABLES))
_LONG = re.compile(r"-?\d+\.\d{2,}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")

RC: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: selectable, searchable, in the page's font
    "svg.hashsalt": "swarm-chaos",  # else ids are random
    "font.family": "DejaVu Sans",  # ships with matplotlib, so layout is the same everywhere
    "path.simplify": False,
    "hatch.linewidth": 0.7,
}


def inline_svg(figure: Figure, *, name: str, label: str, described_by: str) -> str:
    """The figure as an ``<svg>`` element for a page; ``name`` makes its ids unique there.

    ``label`` is what a screen reader calls it, ``described_by`` the id of the element of the
    page that says in words what it shows.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the layout font lacks is still drawn by the reader's browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(
            buffer,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    root = ET.fromstring(buffer.getvalue())
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.removeprefix(_SVG)
    _prune(root)
    for element in root.iter():
        _adapt(element, name)
    view = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update(
        {
            "viewBox": view,
            "role": "img",
            "class": "timeline",
            "aria-label": label,
            "aria-describedby": described_by,
        }
    )
    return ET.tostring(root, encoding="unicode")


def _prune(parent: ET.Element) -> None:
    # Also <style>: within a page its rules would reach all of the page.
    for element in list(parent):
        _prune(element)
        hollow = element.tag in {"g", "defs"} and len(element) == 0
        if hollow or element.tag in {"metadata", "style"}:
            parent.remove(element)


def _adapt(element: ET.Element, name: str) -> None:
    element.attrib.pop("clip-rule", None)
    styles = [element.attrib.pop("style", "").rstrip("; ")]
    for key, value in list(element.attrib.items()):
        if key == "id":
            # Only what is referred to needs its id.
            if element.tag in {"g", "text"}:
                del element.attrib[key]
            else:
                element.set(key, f"{name}-{value}")
        elif key == _HREF:
            del element.attrib[key]
            element.set("href", f"#{name}-{value.removeprefix('#')}")
        elif key in {"fill", "stroke"} and value in VARIABLES:
            # Variables work in style only, not in presentation attributes.
            del element.attrib[key]
            styles.append(f"{key}: {value}")
        elif key in {"d", "points", "transform", "x", "y", "width", "height"}:
            element.set(key, " ".join(_LONG.sub(_short, value).split()))
        elif key == "clip-path":
            element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))
    if style := "; ".join(s for s in styles if s):
        style = _FONT.sub(_page_font, style)
        style = _FONT_FAMILY.sub("", style)
        style = _STAND_IN.sub(lambda m: VARIABLES[m[0]], style)
        style = _REFERENCE.sub(rf"url(#{name}-\1)", style)
        element.set("style", style)
    if element.tag not in {"text", "tspan"} and element.text and not element.text.strip():
        element.text = None
    if element.tail and not element.tail.strip():
        element.tail = "\n" if element.tag == "g" else None


def _short(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}".removesuffix(".0")


def _page_font(font: re.Match[str]) -> str:
    weight = f"font-weight: {font[1]}; " if font[1] else ""
    return f"{weight}font-size: {font[2]}"
