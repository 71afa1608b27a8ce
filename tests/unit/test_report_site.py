"""A run's pages: whole, self-contained, escaped, the same bytes for the same folder."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import synthetic_runs
from click.testing import CliRunner
from optionals import not_none
from rich.console import Console

from harness.cli.report import report
from harness.errors import TrialError, UsageError
from harness.report import render_summary, write_report, write_site
from harness.report.assets import library_name
from harness.report.overview import matrix_of, outcome_of, rerun_command
from harness.results import RunWriter, read_run
from harness.trial import Expectation, Trial, TrialClock
from harness.wait import Elapsed

VOID = {"meta", "link", "input", "br", "img", "hr"}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\x00 ü $x^2$"


class Page(HTMLParser):
    """Reads a page strictly enough to find what browsers would silently repair."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> says an attribute twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.texts.append(data)

    def values(self, attribute: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(attribute))]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = synthetic_runs.synthetic_run(tmp_path_factory.mktemp("reports"))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def html(run_folder: Path) -> str:
    return (run_folder / "index.html").read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Any:
    return Page(html)


def pages_of(folder: Path) -> dict[str, str]:
    """All pages of a site by name, the index among them."""
    found = {path.name: path.read_text() for path in sorted((folder / "pages").glob("*.html"))}
    return {"index.html": (folder / "index.html").read_text(), **found}


def trial_pages(folder: Path) -> list[Any]:
    return [Page(html) for name, html in pages_of(folder).items() if name.startswith("trial-")]


@pytest.fixture(scope="module")
def trial(run_folder: Path) -> Any:
    path = run_folder / "pages" / "trial-leader-killed-dockerd.28.5.2.3m2w.s1.html"
    return Page(path.read_text())


def one_trial(root: Path, *, hostile: bool = False, version: str = "28.5.2") -> Path:
    """A small run of one trial; hostile: every word in it tries to break out of the page."""
    word = HOSTILE if hostile else "plain"
    writer = RunWriter.create(root, command=["pytest", word], harness="0")
    given = synthetic_runs.inputs(f"scenarios/test_x.py::test_{word}", version=version)
    clock = synthetic_runs.HandClock()
    trial = Trial(writer.trial_folder(given), given, clock=TrialClock(0.0, clock))
    trial.journal.write("swarm.formed", managers=[word], workers=["w1"], leader=word)
    clock.seconds = 2.0
    trial.journal.write("fault.inject", id="f", fault=word, target=[word, "m2"])
    trial.journal.write("node.state", node=word, state=word, by=word)
    trial.journal.write("note", text=word)
    trial.write_samples(
        "requests",
        [{"t": 1 + n / 10, "took": 0.01, "outcome": "ok", "code": 200} for n in range(9)],
    )
    trial.folder.joinpath("logs", "m1.log").write_text(f'level=warning msg="{word}"\n')
    clock.seconds = 4.0
    trial.measures(Expectation(word, unit="s", at_most=2, source=word), 3, note=word)
    trial.finish(None, title=word, upstream=[word], nodes=[word])
    return writer.folder


def test_pages_are_well_formed_and_their_ids_and_labels_are_whole(run_folder: Path) -> None:
    for html in pages_of(run_folder).values():
        page = Page(html)
        ids = page.values("id")
        assert len(ids) == len(set(ids))
        for attribute in ("aria-labelledby", "aria-describedby", "data-figure", "data-chart"):
            for value in page.values(attribute):
                assert set(value.split()) <= set(ids)
        within = [h.removeprefix("#") for h in page.values("href") if h.startswith("#")]
        assert set(within) <= set(ids)
        assert sum(tag == "h1" for tag, _ in page.tags) == 1


def test_every_link_leads_to_a_file_of_the_run_or_to_the_thread_upstream(run_folder: Path) -> None:
    links = 0
    for name, html in pages_of(run_folder).items():
        here = run_folder if name == "index.html" else run_folder / "pages"
        page = Page(html)
        for target in (*page.values("href"), *page.values("src")):
            if target == "https://github.com/moby/moby/issues/32841":
                continue  # followed by hand
            if target.startswith("#") or target == "data:,":
                continue
            assert (here / unquote(target)).is_file(), target
            links += 1
    assert links > 100


def test_pages_load_only_what_lies_beside_them(run_folder: Path) -> None:
    for html in pages_of(run_folder).values():
        page = Page(html)
        policy = next(
            attrs["content"] for _, attrs in page.tags
            if attrs.get("http-equiv") == "Content-Security-Policy"
        )  # fmt: skip
        assert "default-src 'none'" in not_none(policy)
        assert "http" not in not_none(policy)
        assert "connect-src 'none'" in not_none(policy)
        assert not any("://" in src for src in page.values("src"))
        assert not any("src" not in a for t, a in page.tags if t == "script" and "type" not in a)
    style = (run_folder / "pages" / "assets" / "report.css").read_text()
    assert "url(" not in style
    assert "@import" not in style


def test_the_charting_library_is_there_once(run_folder: Path) -> None:
    assert [p.name for p in (run_folder / "pages" / "assets").glob("plotly*")] == [library_name()]
    assert "Plotly" not in (run_folder / "index.html").read_text()


def test_the_first_look_tells_how_it_came_out(page: Any) -> None:
    headings = page.text
    assert "1 of 7 trials is not as expected, 1 without a verdict" in headings
    assert "fails, as it must" in headings
    assert "not run" in headings


@pytest.mark.parametrize(
    ("value", "must_break", "said"),
    [(3.0, ["gap"], "fails, as it must"), (1.0, ["gap"], "passes: check is blind"),
     (3.0, ["another"], "fails by other measures"), (None, ["gap"], "unknown")],
)  # fmt: skip
def test_a_control_is_good_only_when_it_fails_by_what_it_must(
    tmp_path: Path, value: float | None, must_break: Sequence[str], said: str
) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="0")
    given = synthetic_runs.inputs(control=True)
    trial = Trial(writer.trial_folder(given), given)
    trial.measures(Expectation("gap", unit="s", at_most=2), value)
    trial.finish(None, must_break=must_break)
    assert outcome_of(read_run(writer.folder).trials[0]).word == said


def test_several_seeds_are_told_as_tally_median_and_range(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="0")
    for seed, value in enumerate((1.0, 1.5, Elapsed(9.0, reached=False), None), start=1):
        given = synthetic_runs.inputs(seed=seed)
        trial = Trial(writer.trial_folder(given), given)
        trial.measures(Expectation("gap", unit="s", at_most=4), value)
        trial.finish(None)
    (row,) = matrix_of(read_run(writer.folder).trials).rows
    (cell,) = row.cells
    assert [(o.word, n) for o, n in not_none(cell).counts] == [
        ("fail", 1),
        ("unknown", 1),
        ("pass", 2),
    ]
    (gap,) = not_none(cell).measures
    assert (gap.value, gap.spread) == ("more than 1.5 s", "median; 1 s to more than 9 s")
    assert gap.remark == "broken in 1 of 4"
    page = Page(write_report(writer.folder).read_text())
    assert "2 pass" in page.text
    assert len(trial_pages(writer.folder)) == 4


def test_the_timeline_is_told_in_words(trial: Any) -> None:
    assert "there is no leader from 30.2 s for 9.6 s, then m2 leads" in trial.text
    assert "Kill dockerd: m1 at 30.0 s (took effect by 30.0 s, healed at 53.9 s)." in trial.text
    assert "Logs of gossip and raft: 4 marked failed, 4 suspect." in trial.text
    assert all(a.get("aria-label") for _, a in trial.tags if a.get("role") == "img")


def test_figures_have_no_colours_of_their_own(run_folder: Path) -> None:
    style = (run_folder / "pages" / "assets" / "report.css").read_text()
    found = 0
    for html in pages_of(run_folder).values():
        for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html):
            json.loads(data)
            assert re.findall(r"#[0-9a-f]{6}\b", data) == []
            for name in set(re.findall(r'"\$([a-z0-9-]+)"', data)):
                assert f"--c-{name}:" in style
                found += 1
    assert found > 20


def test_the_command_to_run_a_trial_again_is_there(trial: Any) -> None:
    assert (
        "pytest scenarios/test_manager_failover.py::test_leader_killed -k dockerd "
        "--engine 28.5.2 --seed 1 --lab namespaces" in trial.text
    )


def test_a_trial_of_a_guest_names_its_replay(tmp_path: Path) -> None:
    folder = one_trial(tmp_path)
    (kept,) = (folder / "trials").iterdir()
    (kept / "job.json").write_text("{}")
    write_report(folder)
    (page,) = trial_pages(folder)
    assert f"swarm-chaos replay reports/{folder.name}/trials/{kept.name}" in page.text


def test_parameters_and_controls_are_in_the_command_too() -> None:
    given = synthetic_runs.inputs("scenarios/test_x.py::test_kill[node-hard]", control=True)
    assert rerun_command(given) == (
        "pytest scenarios/test_x.py::test_kill -k 'node and hard' "
        "--engine 28.5.2 --seed 1 --lab namespaces --controls"
    )


def test_logs_stand_among_the_events_by_the_trials_own_time(run_folder: Path, trial: Any) -> None:
    assert 'Failed to load container: "</script><b>x"' in trial.text
    rows = [a for tag, a in trial.tags if tag == "tr" and a.get("data-source") == "m2"]
    assert len(rows) == 1  # eleven times the same within some seconds
    assert 30.0 <= float(rows[0]["data-at"]) <= 40.0


def test_a_scenarios_page_says_what_is_expected_and_why(run_folder: Path) -> None:
    page = Page((run_folder / "pages" / "scenario-leader_killed-node.html").read_text())
    assert "Three managers, two workers; a balancer" in page.text
    assert "moby/swarmkit: election tick 10 x 1 s, and a margin of 2" in page.text
    assert "at most 12 s" in page.text
    control = Page(
        (run_folder / "pages" / "scenario-control_majority_killed.control.html").read_text()
    )
    assert "must break their bounds: time to a new leader" in control.text


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    folder = one_trial(tmp_path, hostile=True)
    write_report(folder)
    assert len(pages_of(folder)) == 3
    for html in pages_of(folder).values():
        page = Page(html)
        assert [tag for tag, _ in page.tags].count("img") == 0
        assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", html)
        assert "alert(1)" in page.text
        for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html):
            assert "<" not in data
            assert "<img" not in json.dumps(json.loads(data))


def test_the_same_folder_gives_the_same_bytes_wherever_it_lies(
    tmp_path: Path, run_folder: Path
) -> None:
    elsewhere = tmp_path / "moved" / run_folder.name
    shutil.copytree(run_folder, elsewhere)
    (elsewhere / "index.html").unlink()
    (elsewhere / "pages" / "trial-of-long-ago.html").touch()
    write_report(elsewhere)
    assert pages_of(elsewhere) == pages_of(run_folder)
    assert sorted(p.name for p in elsewhere.iterdir() if p.name.startswith(".")) == []
    assert str(run_folder) not in "".join(pages_of(run_folder).values())


def test_a_site_elsewhere_names_the_trials_files_without_linking_them(
    tmp_path: Path, run_folder: Path
) -> None:
    index = write_site([run_folder], tmp_path / "site")
    assert index == tmp_path / "site" / "index.html"
    pages = trial_pages(tmp_path / "site")
    assert len(pages) == 7
    assert not any("journal.jsonl" in h for page in pages for h in page.values("href"))
    assert all("journal.jsonl" in page.text for page in pages)


def test_several_runs_make_one_site_with_comparison_and_history(tmp_path: Path) -> None:
    folders = synthetic_runs.nightly_runs(tmp_path, 10, trials=4, slower_from=5)
    (folders[3] / "run.json").write_text('{"schema": 99}')
    empty = tmp_path / "no-run"
    empty.mkdir()
    write_site([*folders, empty], tmp_path / "site")
    site = pages_of(tmp_path / "site")
    assert sum(name.startswith("trial-") for name in site) == 40
    index = Page(site["index.html"])
    assert "run.json has schema 99" in index.text
    assert "no-run is not a run" in index.text.replace(f"{tmp_path}/", "")
    history = Page(site["history.html"])
    assert "changed at some run" in history.text
    assert re.search(
        r"regressed from run 2026112\dT004500Z on: \d+\.?\d* s after \d+\.?\d* s", history.text
    )
    assert "is the baseline" in Page(site["comparison.html"]).text


def test_pages_of_others_are_left_alone(tmp_path: Path, run_folder: Path) -> None:
    mine = tmp_path / "pages" / "mine.html"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UsageError, match="does not contain a report"):
        write_site([run_folder], tmp_path)
    assert mine.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["pages"]


def test_what_cannot_be_written_is_a_sentence(tmp_path: Path, run_folder: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrialError, match="cannot write the report into"):
        write_site([run_folder], tmp_path / "file")


def test_damage_is_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    folder = one_trial(tmp_path)
    (trial,) = (folder / "trials").iterdir()
    for name in ("broken", "foreign"):
        shutil.copytree(trial, trial.with_name(name))
    (folder / "trials" / "broken" / "trial.json").write_text("{")
    (folder / "trials" / "foreign" / "journal.jsonl").write_text('{"t": 1, "kind": "a"}\n!\n{}\n')
    (folder / "trials" / "foreign" / "samples" / "requests.jsonl").write_text(
        '{"t": "x"}\n{"t": 1, "took": 1, "outcome": "a new one"}\n[1]\n{}\n'
    )
    page = Page(write_report(folder).read_text())
    assert "2 of 2 trials are not as expected, 1 unfinished or damaged" in page.text
    assert "broken : trial.json is not a valid trial record" in page.text
    broken = Page((folder / "pages" / "trial-broken.html").read_text())
    assert "trial.json is not a valid trial record" in broken.text
    assert "m2" in broken.text  # its journal is shown all the same
    foreign = Page((folder / "pages" / "trial-foreign.html").read_text())
    assert "journal.jsonl, line 2: not an entry" in foreign.text
    assert "2 invalid rows were ignored" in foreign.text
    assert "requests.jsonl, line 3" in foreign.text
    assert len(trial_pages(folder)) == 3


def test_a_trial_of_a_newer_schema_is_shown_as_far_as_its_journal_goes(tmp_path: Path) -> None:
    folder = one_trial(tmp_path)
    (kept,) = (folder / "trials").iterdir()
    record = json.loads((kept / "trial.json").read_text())
    (kept / "trial.json").write_text(json.dumps({**record, "schema": 99}))
    page = Page(write_report(folder).read_text())
    assert "trial.json has schema 99" in page.text
    (of_it,) = trial_pages(folder)
    assert "trial.json has schema 99" in of_it.text
    assert "9 requests" in of_it.text


@pytest.mark.parametrize("entry", [
    {"t": None, "kind": "leader", "leader": "m1"},
    {"t": 1.0},
    {"t": 1.0, "kind": 7},
    {"t": True, "kind": "fault.inject"},
    {"t": 1.0, "kind": "fault.inject"},
    {"t": 1.0, "kind": "fault.healed", "id": "never injected"},
    {"t": 1.0, "kind": "swarm.formed", "managers": None, "workers": 3, "leader": {"a": 1}},
    {"t": 1.0, "kind": "node.state", "node": ["x"], "state": None},
    {"t": 1e9, "kind": "leader", "leader": None},
    {"t": -5, "kind": "load.start"},
])  # fmt: skip
def test_any_journal_makes_a_page(tmp_path: Path, entry: Mapping[str, str | float | None]) -> None:
    folder = one_trial(tmp_path)
    (trial,) = (folder / "trials").iterdir()
    with (trial / "journal.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")
    write_report(folder)
    assert len(trial_pages(folder)) == 1


def test_a_run_without_trials_makes_a_page(tmp_path: Path) -> None:
    folder = RunWriter.create(tmp_path, command=[], harness="").folder
    assert "No trials ran" in Page(write_report(folder).read_text()).text


def test_what_is_no_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def summary_of(folder: Path, width: int = 80) -> str:
    console = Console(width=width, file=None, record=True, color_system=None)
    with console.capture() as captured:
        console.print(render_summary(read_run(folder)), crop=False)
    return captured.get()


def test_the_summary_fits_a_terminal_and_names_what_is_wrong(run_folder: Path) -> None:
    text = summary_of(run_folder)
    lines = text.splitlines()
    assert max(len(line) for line in lines if not line.startswith("report:")) <= 80
    assert "✗ fail" in text
    assert "✓ fails, as it must" in text
    assert "at most 12 s" in text
    assert "1 of 7 trials is not as expected, 1 without a verdict" in lines
    assert lines[-1] == f"report: {run_folder / 'index.html'}"
    flat = " ".join(text.split())
    assert "leader-killed-node.28.5.2.3m2w.s1: time to a new leader: 14.1 s" in flat
    assert "dockerd of m1 still answers" in flat


def test_the_summary_prints_hostile_words_as_words(tmp_path: Path) -> None:
    folder = one_trial(tmp_path, hostile=True)
    assert "\x1b" not in summary_of(folder, width=200)


def test_a_pages_path_is_printed_whole_however_long(tmp_path: Path) -> None:
    folder = one_trial(tmp_path / ("far away " * 10).strip() / "reports")
    done = CliRunner().invoke(report, [str(folder)])
    assert done.exit_code == 0, done.output
    assert f"report: {folder / 'index.html'}" in done.output.splitlines()


def test_the_command_takes_a_folder_an_id_or_the_latest(tmp_path: Path) -> None:
    folder = one_trial(tmp_path / "reports")
    page = folder / "index.html"
    for arguments in ([], [folder.name], [str(folder)]):
        page.unlink(missing_ok=True)
        done = CliRunner().invoke(report, [*arguments, "--reports", str(tmp_path / "reports")])
        assert done.exit_code == 0, done.output
        assert page.is_file()
    done = CliRunner().invoke(report, ["nowhere", "--reports", str(tmp_path)])
    assert isinstance(done.exception, UsageError)
    assert "there is no run at nowhere" in str(done.exception)


def test_several_runs_need_a_folder_to_go_into(tmp_path: Path) -> None:
    first, second = one_trial(tmp_path / "a"), one_trial(tmp_path / "b")
    done = CliRunner().invoke(report, [str(first), str(second)])
    assert isinstance(done.exception, UsageError)
    done = CliRunner().invoke(report, [str(first), str(second), "--into", str(tmp_path / "site")])
    assert done.exit_code == 0, done.output
    assert f"report: {tmp_path / 'site' / 'index.html'}" in done.output
    assert (tmp_path / "site" / "pages" / "history.html").is_file()
