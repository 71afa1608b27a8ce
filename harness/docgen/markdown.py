"""Markdown from templates, and text that is safe in it."""

from __future__ import annotations

import re

import jinja2

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("harness.docgen"),
    autoescape=False,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


_THREAD = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)")


def filled(template: str, **values: object) -> str:
    """Return a template of this package, filled in; it ends with one newline."""
    return _TEMPLATES.get_template(template).render(values).rstrip() + "\n"


def plain(text: str) -> str:
    """Return a paragraph of a docstring as Markdown, its lines kept."""
    return text.replace("``", "`").strip()


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return plain(text).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def linked(text: str) -> str:
    """Return a text with its threads as links."""
    return _THREAD.sub(r"[\g<0>](https://github.com/\1/issues/\2)", text)
