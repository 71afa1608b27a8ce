"""The page of a run: whole, self-contained, escaped, the same bytes for the same folder."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from rich.console import Console

from harness.errors import UsageError
from harness.report import render_summary, write_report
from harness.report.command import report
from harness.report.overview import matrix_of, outcome_of, rerun_command
from harness.results import RunWriter, read_run
from harness.trial import Trial, TrialClock
from harness.wait import Elapsed

VOID = {"meta", "link", "input", "br", "img", "hr"}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\x00 ü $x^2$"


def load_synthetic() -> ModuleType:
    path = Path(__file__).parents[1] / "synthetic_run.py"
    spec = importlib.util.spec_from_file_location("synthetic_run", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


synthetic = load_synthetic()


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

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> says an attribute twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def values(self, attribute):
        return [attrs[attribute] for _, attrs in self.tags if attrs.get(attribute)]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = synthetic.synthetic_run(tmp_path_factory.mktemp("reports"))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def html(run_folder):
    return (run_folder / "index.html").read_text()


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def one_trial(root, *, hostile=False, version="28.5.2") -> Path:
    """A small run of one trial; hostile: every word in it tries to break out of the page."""
    word = HOSTILE if hostile else "plain"
    writer = RunWriter.create(root, command=["pytest", word], harness="0")
    given = synthetic.inputs(f"scenarios/test_x.py::test_{word}", version=version)
    clock = synthetic.HandClock()
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
    trial.measures(word, 3, unit="s", note=word).below(2, source=word)
    trial.finish(None, title=word, upstream=[word], nodes=[word])
    return writer.folder


def test_the_page_is_well_formed_and_its_ids_are_unique(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    for attribute in ("aria-labelledby", "aria-describedby"):
        for value in page.values(attribute):
            assert set(value.split()) <= set(ids)
    within = [h.removeprefix("#") for h in page.values("href") if h.startswith("#")]
    assert set(within) <= set(ids)


def test_the_page_loads_nothing(page, html):
    loading = [
        (tag, attrs)
        for tag, attrs in page.tags
        if attrs.get("src") or (tag == "link" and attrs.get("href") != "data:,")
    ]
    assert loading == []
    for target in re.findall(r"url\(([^)]*)\)", html):
        assert target.startswith("#")
    assert "@import" not in html
    elsewhere = {h for h in page.values("href") if not h.startswith("#")} - {"data:,"}
    assert elsewhere == {"https://github.com/moby/moby/issues/32841"}  # a link, followed by hand


def test_the_policy_lets_the_pages_own_script_run_and_nothing_else(page, html):
    import base64
    import hashlib

    policy = next(
        attrs["content"] for _, attrs in page.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )  # fmt: skip
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_the_first_look_tells_how_it_came_out(page):
    headings = page.text
    assert "1 of 7 trials is not as expected, 1 says nothing" in headings
    assert "fails, as it must" in headings
    assert "not run" in headings


@pytest.mark.parametrize(
    ("value", "must_break", "said"),
    [(3.0, ["gap"], "fails, as it must"), (1.0, ["gap"], "passes: blind"),
     (3.0, ["another"], "fails by other measures"), (None, ["gap"], "unknown")],
)  # fmt: skip
def test_a_control_is_good_only_when_it_fails_by_what_it_must(tmp_path, value, must_break, said):
    writer = RunWriter.create(tmp_path, command=[], harness="0")
    given = synthetic.inputs(control=True)
    trial = Trial(writer.trial_folder(given), given)
    trial.measures("gap", value, unit="s").below(2)
    trial.finish(None, must_break=must_break)
    assert outcome_of(read_run(writer.folder).trials[0]).word == said


def test_several_seeds_are_told_as_tally_median_and_range(tmp_path):
    writer = RunWriter.create(tmp_path, command=[], harness="0")
    for seed, value in enumerate((1.0, 1.5, Elapsed(9.0, reached=False), None), start=1):
        given = synthetic.inputs(seed=seed)
        trial = Trial(writer.trial_folder(given), given)
        trial.measures("gap", value, unit="s").below(4)
        trial.finish(None)
    (row,) = matrix_of(read_run(writer.folder)).rows
    (cell,) = row.cells
    assert [(o.word, n) for o, n in cell.tally] == [("fail", 1), ("unknown", 1), ("pass", 2)]
    (gap,) = cell.measures
    assert (gap.value, gap.spread) == ("> 1.5 s", "median; 1 s to > 9 s")
    assert gap.remark == "broken in 1 of 4"
    page = Page(write_report(writer.folder).read_text())
    assert "2 pass" in page.text


def test_the_picture_is_told_in_words(page):
    assert "nobody leads from 30.2 s for 11.4 s, then m2 leads" in page.text
    assert "Kill dockerd: m1 at 30.0 s (proven at 30.0 s, healed at 53.9 s)." in page.text
    assert sum(tag == "svg" and a.get("role") == "img" for tag, a in page.tags) == 6
    assert all(a.get("aria-label") for _, a in page.tags if a.get("role") == "img")


def test_the_picture_has_no_colours_of_its_own(html):
    pictures = re.findall(r'<svg viewBox="0 0 604.*?</svg>', html, re.DOTALL)
    assert pictures
    for picture in pictures:
        assert re.findall(r"#[0-9a-f]{6}\b", picture) == []
        used = set(re.findall(r"var\((--c-[\w-]+)\)", picture))
        assert all(f"{name}:" in html for name in used)


def test_the_command_to_run_a_trial_again_is_there(page):
    assert (
        "pytest scenarios/test_manager_failover.py::test_leader_killed -k dockerd "
        "--engine 26.1.5 --seed 1 --lab namespaces" in page.text
    )


def test_parameters_and_controls_are_in_the_command_too():
    given = synthetic.inputs("scenarios/test_x.py::test_kill[node-hard]", control=True)
    assert rerun_command(given) == (
        "pytest scenarios/test_x.py::test_kill -k 'node and hard' "
        "--engine 28.5.2 --seed 1 --lab namespaces --controls"
    )


def test_log_lines_are_gathered_and_counted(page):
    assert "rpc error: code = Unavailable desc = connection refused" in page.text
    assert 'Failed to load container: "</script><b>x"' in page.text


def test_hostile_words_stay_words(tmp_path):
    folder = one_trial(tmp_path, hostile=True)
    html = write_report(folder).read_text()
    page = Page(html)
    assert html.count("<script>") == html.count("</script>") == 1
    assert [tag for tag, _ in page.tags].count("img") == 0
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", html)
    assert "alert(1)" in page.text


def test_the_same_folder_gives_the_same_bytes_wherever_it_lies(tmp_path, run_folder, html):
    elsewhere = tmp_path / "moved" / run_folder.name
    shutil.copytree(run_folder, elsewhere)
    (elsewhere / "index.html").unlink()
    assert write_report(elsewhere).read_text() == html
    assert sorted(p.name for p in elsewhere.iterdir() if p.name.startswith(".")) == []
    assert str(run_folder) not in html


def test_damage_is_told_and_the_rest_is_shown(tmp_path):
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
    assert "broken : trial.json is no trial record" in page.text
    assert "journal.jsonl, line 2: not an entry" in page.text
    assert "2 rows are no requests and are left out" in page.text
    assert "requests.jsonl, line 3" in page.text
    assert sum(tag == "article" for tag, _ in page.tags) == 2


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
def test_any_journal_makes_a_page(tmp_path, entry):
    folder = one_trial(tmp_path)
    (trial,) = (folder / "trials").iterdir()
    with (trial / "journal.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")
    assert sum(tag == "article" for tag, _ in Page(write_report(folder).read_text()).tags) == 1


def test_a_run_without_trials_makes_a_page(tmp_path):
    folder = RunWriter.create(tmp_path, command=[], harness="").folder
    assert "No trial ran" in Page(write_report(folder).read_text()).text


def test_what_is_no_run_is_refused_and_left_alone(tmp_path):
    with pytest.raises(UsageError):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def summary_of(folder, width=80) -> str:
    console = Console(width=width, file=None, record=True, color_system=None)
    with console.capture() as captured:
        console.print(render_summary(read_run(folder)), crop=False)
    return captured.get()


def test_the_summary_fits_a_terminal_and_names_what_is_wrong(run_folder):
    text = summary_of(run_folder)
    lines = text.splitlines()
    assert max(len(line) for line in lines if not line.startswith("report:")) <= 80
    assert "✗ fail" in text
    assert "✓ fails, as it must" in text
    assert "≤ 12 s" in text
    assert "1 of 7 trials is not as expected, 1 says nothing" in lines
    assert lines[-1] == f"report: {run_folder / 'index.html'}"
    flat = " ".join(text.split())
    assert "leader-killed-node.28.5.2.3m2w.s1: time to a new leader = 14.1 s" in flat
    assert "dockerd of m1 still answers" in flat


def test_the_summary_prints_hostile_words_as_words(tmp_path):
    folder = one_trial(tmp_path, hostile=True)
    assert "\x1b" not in summary_of(folder, width=200)


def test_a_pages_path_is_printed_whole_however_long(tmp_path):
    folder = one_trial(tmp_path / ("far away " * 10).strip() / "reports")
    done = CliRunner().invoke(report, [str(folder)])
    assert done.exit_code == 0, done.output
    assert f"report: {folder / 'index.html'}" in done.output.splitlines()


def test_the_command_takes_a_folder_an_id_or_the_latest(tmp_path):
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
