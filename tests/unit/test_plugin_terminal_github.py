"""The end of a session in a GitHub workflow: summary and annotations, trouble told."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from stand_ins import stand_in
from stored_runs import store_run

from harness.pytest_plugin.terminal import summarize


class Reporter:
    """As much of pytest's terminal reporter as is used."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self._tw = SimpleNamespace(fullwidth=100, hasmarkup=False)

    def section(self, title: str) -> None:
        self.write_line(f"== {title}")

    def write(self, text: str) -> None:
        self.text.write(text)

    def write_line(self, line: str) -> None:
        self.text.write(f"{line}\n")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return store_run(tmp_path, [99.0], limit=20.0).folder


def test_annotations_begin_their_lines_and_the_summary_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    reporter: Any = Reporter()
    summarize(run, reporter, print)
    lines = reporter.text.getvalue().splitlines()
    assert [line.partition(" ")[0] for line in lines if "::" in line][-1] == "::error"
    assert "1 of 1" in (tmp_path / "summary.md").read_text()


def test_a_summary_that_cannot_be_written_is_said_and_no_more(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "such" / "folder.md"))
    said: list[Any] = []
    summarize(run, stand_in(Reporter()), said.append)
    assert "summary could not be written" in said[0]


def test_elsewhere_nothing_is_annotated(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    reporter: Any = Reporter()
    summarize(run, reporter, print)
    assert "::error" not in reporter.text.getvalue()
