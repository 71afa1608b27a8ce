"""The documentation as a site has every page, and (where mkdocs is installed) builds strictly."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "mkdocs.yml"
TOP = {"index.md", "contributing.md", "security.md", "changelog.md"}
"""Pages made from documents at the top of the repository (.ci/site_hooks.py)."""


def pages(nav: list[dict[str, Any]]) -> Iterator[str]:
    for entry in nav:
        for where in entry.values():
            yield from pages(where) if isinstance(where, list) else [where]


def test_every_document_is_in_the_navigation_once() -> None:
    listed = list(pages(yaml.safe_load(CONFIG.read_text())["nav"]))
    assert len(listed) == len(set(listed))
    assert set(listed) == {path.name for path in REPOSITORY.glob("docs/*.md")} | TOP


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="`make site` installs mkdocs"
)
def test_it_builds_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(CONFIG), "-d", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    first = (tmp_path / "index.html").read_text()
    assert 'href="howto.html"' in first
    assert "swarm-chaos/blob/main/scenarios/test_jobs.py" in first
    assert "cdnjs" not in first
