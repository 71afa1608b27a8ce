"""Comparisons as people and programs see them, and the command that makes them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from rich.console import Console
from stored_runs import STARTED, given, store_run, store_trial

from harness.cli import main
from harness.report.comparing import (
    comparison_markdown,
    comparison_table,
    render_comparison,
    webhook_payload,
)
from harness.report.comparing.conclusions import conclusions_of
from harness.report.comparing.github import comparison_to_github
from harness.report.github import run_to_github
from harness.results import RunWriter, read_run
from harness.results.comparison import Comparison, compare
from harness.results.comparison_sides import sides_by_engine, sides_by_run
from harness.wait import Elapsed

FAST = [10 + n / 10 for n in range(10)]
SLOW = [20 + n / 10 for n in range(10)]
HOSTILE = "</script><b>|x| `y`\n::error::z</b>"


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    return compare(
        sides_by_run(
            [store_run(tmp_path, FAST, limit=99.0), store_run(tmp_path, SLOW, day=2, limit=99.0)]
        )
    )


def shown(comparison: Comparison, width: int = 80, **options: Any) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(comparison_table(comparison, **options))
    return text.getvalue()


class Reader(HTMLParser):
    """Checks that tags are closed as they were opened; collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> Any:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_the_terminal_shows_what_changed_and_counts_the_rest(comparison: Comparison) -> None:
    text = shown(comparison)
    assert "✗ regressed" in text
    assert "+10 s" in text
    assert "1 regressed, 1 same" in text
    assert "= same" not in text
    assert "trials that fail" in shown(comparison, show_all=True)
    assert max(map(len, text.splitlines())) <= 80


def test_a_few_sentences_come_first(comparison: Comparison) -> None:
    text = shown(comparison, width=200)
    assert "Worse: 1 measure, with a bound." in text
    sentence = (
        "time to a new leader in leader_killed[node]: +10 s "
        "(95 %: +9.7 to +10.3 s; at most 99 s expected)"
    )
    assert text.index(sentence) < text.index("✗ regressed")
    assert "The same, as far as it matters: 1 measure, none with a bound." in text
    for written in (comparison_markdown(comparison), render_comparison(comparison)):
        assert "Worse: 1 measure, with a bound." in written


def undecided(tmp_path: Path, *, by: Literal["run", "engine"]) -> Comparison:
    """Two sides of three trials each: one measure with a bound, one without."""
    writer = RunWriter.create(tmp_path, command=[], harness="1", started=STARTED)
    for seed in (1, 2, 3):
        for version, value in (("26.1.5", 10.0), ("28.5.2", 11.0)):
            store_trial(writer, given(version, seed=seed), {"gap": value + seed / 2}, limit=99.0)
    runs = [read_run(writer.folder)]
    return compare(sides_by_engine(runs) if by == "engine" else sides_by_run(runs * 2), by=by)


def test_what_is_not_decided_has_a_number_of_trials_and_a_command(tmp_path: Path) -> None:
    comparison = undecided(tmp_path, by="engine")
    [conclusion] = [
        c for c in conclusions_of(comparison, comparison.pairings[0]) if "Not decided" in c.head
    ]
    assert re.search(r"About \d+ more trials of each side would decide", conclusion.head)
    assert conclusion.command == (
        "swarm-chaos run --until-decided --budget 2h --continue 20261101T000000Z "
        "--engine 26.1.5,28.5.2"
    )


def test_runs_are_decided_by_more_trials_of_their_scenarios(tmp_path: Path) -> None:
    comparison = undecided(tmp_path, by="run")
    commands = [c.command for c in conclusions_of(comparison, comparison.pairings[0])]
    assert any(re.match(r"swarm-chaos run --trials \d+ '?scenarios/", c) for c in commands)


def test_markdown_is_a_table_that_nothing_breaks_out_of(tmp_path: Path) -> None:
    runs = []
    for values in (FAST, SLOW):
        writer = RunWriter.create(tmp_path, command=[], harness="1")
        for seed, value in enumerate(values):
            inputs = given(seed=seed, scenario=f"scenarios/test_x.py::{HOSTILE}")
            store_trial(writer, inputs, {HOSTILE: value})
        runs.append(read_run(writer.folder))
    found = compare(sides_by_run(runs))
    rows = [line for line in comparison_markdown(found).splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9}
    assert "<b>" not in comparison_markdown(found)
    page = read(render_comparison(found))
    assert not {"b", "script"} & {tag for tag, _ in page.tags}
    [annotation] = comparison_to_github(found, {"GITHUB_ACTIONS": "true"})
    assert "\n" not in annotation
    assert shown(found)


def test_the_page_stands_alone_and_says_every_value_in_words(comparison: Comparison) -> None:
    html = render_comparison(comparison)
    page = read(html)
    assert not [a for _, a in page.tags if "src" in a or "href" in a]
    assert "://" not in html
    assert "default-src 'none'" in html
    labels = [a["aria-label"] for tag, a in page.tags if tag == "svg"]
    assert any("10 s, 10.1 s" in label for label in labels)
    assert "regressed" in "".join(page.text)
    assert html == render_comparison(comparison)


def test_longer_than_is_shown_as_such(tmp_path: Path) -> None:
    cut = [Elapsed(30.0, reached=False, last="")] * 10
    found = compare(sides_by_run([store_run(tmp_path, FAST), store_run(tmp_path, cut, day=2)]))
    assert "more than 30 s" in shown(found, width=120)
    assert "at least +" in shown(found, width=120)
    assert "more than 30 s" in render_comparison(found)


def test_shares_are_told_in_percent_and_move_by_points(tmp_path: Path) -> None:
    runs = [store_run(tmp_path, [v] * 8, day=d, unit="1") for d, v in ((1, 0.01), (2, 0.05))]
    found = compare(sides_by_run(runs))
    text = shown(found, width=120)
    assert "1 %" in text
    assert "+4 percentage points" in text


def test_what_changed_is_ready_for_a_webhook(comparison: Comparison) -> None:
    told = json.loads(json.dumps(webhook_payload(comparison)))
    [change] = told["changed"]
    assert (change["outcome"], change["measure"]) == ("regressed", "time to a new leader")
    assert "1 regressed" in told["text"]
    assert change["sentence"] in told["text"]


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    root = tmp_path / "reports"
    store_run(root, FAST)
    store_run(root, SLOW, day=2)
    monkeypatch.chdir(tmp_path)
    return root


FIRST, SECOND = "20261101T000000Z", "20261102T000000Z"


def test_compare_exits_1_only_when_asked_to_fail_on_what_is_there(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["compare", FIRST, SECOND]) == 0
    assert main.call(["compare", FIRST, SECOND, "--fail-on", "regressed"]) == 1
    assert main.call(["compare", SECOND, FIRST, "--fail-on", "regressed"]) == 0
    assert main.call(["compare", SECOND, FIRST, "--fail-on", "regressed,improved"]) == 1
    assert "regressed" in capsys.readouterr().out


def test_compare_exits_2_where_nothing_could_be_compared(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = store_run(reports, FAST, day=3, inputs={"topology": "5m0w"}).record.id
    doubtful = store_run(reports, FAST, day=4, doubt="the lab broke").record.id
    for arguments in ([FIRST, other], [FIRST, doubtful], [doubtful, FIRST]):
        assert main.call(["compare", *arguments]) == 2
        assert main.call(["compare", *arguments, "--fail-on", "regressed"]) == 2
        assert "nothing could be compared" in capsys.readouterr().err
    # One side is enough, whatever the others show.
    assert main.call(["compare", FIRST, FIRST, other]) == 2


def test_compare_can_fail_on_trials_without_a_verdict(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undecided = [*FAST, Elapsed(30.0, reached=False, last="")]
    unknown = store_run(reports, undecided, day=3, limit=45.0).record.id
    known = store_run(reports, FAST, day=4, limit=45.0).record.id
    assert main.call(["compare", known, unknown]) == 0
    assert main.call(["compare", known, unknown, "--fail-on", "unknown"]) == 1
    assert main.call(["compare", unknown, known, "--fail-on", "unknown"]) == 1
    assert main.call(["compare", known, known, "--fail-on", "unknown"]) == 0
    capsys.readouterr()
    assert main.call(["compare", known, unknown, "--format", "json"]) == 0
    found = msgspec.json.decode(capsys.readouterr().out, type=Comparison)
    assert (found.unknown, found.pairings[0].unknown) == (0, 1)


def test_compare_writes_every_form(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--write", "c.md", "--write", "c.html", "--write", "c.json"]
    assert main.call(["compare", FIRST, SECOND, *files, "--format", "json"]) == 0
    printed = capsys.readouterr().out
    found = msgspec.json.decode(printed, type=Comparison)
    assert found.pairings[0].counts["regressed"] == 1
    assert (tmp_path / "c.json").read_text() == printed
    assert "## 20261102T000000Z against" in (tmp_path / "c.md").read_text()
    assert (tmp_path / "c.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([FIRST], "nothing to compare"),
        ([FIRST, "nowhere"], "there is no run at nowhere"),
        ([FIRST, SECOND, "--write", "c.pdf"], ".md, .json, .html"),
        ([FIRST, SECOND, "--baseline", "26.1.5"], "--by engine"),
        ([FIRST, SECOND, "--thresholds", "none.toml"], "cannot read the thresholds"),
        ([FIRST, SECOND, "-k", "nonsense"], "no scenario has a name containing 'nonsense'"),
        ([FIRST, SECOND, "--fail-on", "worse"], "'worse' is not a valid outcome"),
        ([], "Missing argument"),
    ],
)
def test_compare_says_what_cannot_be_meant(
    reports: Path, capsys: pytest.CaptureFixture[str], args: Sequence[str], told: str
) -> None:
    assert main.call(["compare", *args]) == 64
    assert told in capsys.readouterr().err


def test_compare_tells_github(
    reports: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "summary.md").write_text("before\n")
    main.call(["compare", FIRST, SECOND, "--format", "json"])
    out, err = capsys.readouterr()
    json.loads(out)
    assert err.startswith("::error title=regressed::leader_killed[node]: time to a new leader")
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("before\n## 20261102T000000Z against")


# -- a run for GitHub ----------------------------------------------------------------------------


def test_a_run_becomes_annotations_and_a_summary(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0, 99.0, None], limit=20.0)
    (run.folder / "trials" / "torn").mkdir()
    summary = tmp_path / "summary.md"
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    lines = run_to_github(read_run(run.folder), environ)
    assert [line.split()[0] for line in lines] == ["::error", "::warning", "::warning"]
    assert lines[0].startswith(
        "::error file=scenarios/test_manager_failover.py,title=leader-killed"
    )
    assert "time to a new leader: 99 s" in lines[0]
    text = summary.read_text()
    assert "| scenario | 28.5.2 |" in text
    assert "1 of 3 trials" in text
    assert "torn" in text


def test_elsewhere_nothing_is_written_or_printed(tmp_path: Path) -> None:
    assert run_to_github(store_run(tmp_path, [99.0], limit=20.0), {}) == []


def test_more_annotations_than_are_shown_are_counted(tmp_path: Path) -> None:
    run = store_run(tmp_path, [99.0] * 14, limit=20.0)
    lines = run_to_github(run, {"GITHUB_ACTIONS": "true"})
    assert len(lines) == 10
    assert lines[-1] == "::error title=more::5 more; see the job's summary"


def test_a_summary_that_github_would_refuse_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.report.github.MOST_SUMMARY", 300)
    summary = tmp_path / "summary.md"
    run_to_github(
        store_run(tmp_path, [99.0] * 14, limit=20.0), {"GITHUB_STEP_SUMMARY": str(summary)}
    )
    assert "(cut: too long for a summary)" in summary.read_text()
    assert summary.stat().st_size < 400


def test_percent_signs_and_commas_reach_github_whole(tmp_path: Path) -> None:
    run = store_run(tmp_path, [99.0], measure="100 % of, all: x", limit=20.0)
    [line] = run_to_github(run, {"GITHUB_ACTIONS": "true"})
    assert "::failed: 100 %25 of, all: x: 99 s" in line
