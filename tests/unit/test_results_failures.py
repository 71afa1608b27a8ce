"""Failures by kind: stable names, states over nights, acknowledgements, the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st
from stored_runs import given, store_run, store_trial

from harness.cli import main
from harness.errors import UsageError
from harness.results import RunWriter, read_run
from harness.results.acknowledged import read_acknowledged
from harness.results.failure_history import night_of, read_history, standings
from harness.results.failures import failures_of, without_variables

LEADER = "time to a new leader"


def kinds_of(*runs: Path) -> list[tuple[str, str]]:
    found = standings([night_of(read_run(run)) for run in runs])
    return [(one.state, one.kind.name) for one in found]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("m1 lost 7 of 12.5 MiB", "<node> lost <number> of <number> MiB"),
        ("dial tcp 10.0.0.7:2377: refused", "dial tcp <address>: refused"),
        ("[fd00::1:2]:2377 and 10.0.0.0/24", "<address> and <address>"),
        ("task xk3v0m0d2hbz8v1u9q4wq7r5t of b7c1d2e3f4a5", "task <id> of <id>"),
        ("at 2026-11-30T00:38:03.12Z: sha256:" + "a1" * 32, "at <time>: <id>"),
        ("the file app\n  is  gone", "the file app is gone"),
    ],
)
def test_a_reason_is_stripped_of_what_differs(text: str, kind: str) -> None:
    assert without_variables(text, ("m1", "m10", "w1")) == kind


@given_any(st.text(max_size=80), st.lists(st.sampled_from(["m1", "w2", "node"]), max_size=3))
def test_stripping_twice_is_stripping_once(text: str, nodes: list[str]) -> None:
    once = without_variables(text, ())
    assert without_variables(once, ()) == once
    assert not any(c in "0123456789" for c in without_variables(text, tuple(nodes)))


@given_any(
    st.integers(0, 10**9), st.integers(0, 255), st.from_regex(r"[0-9a-z]{25}", fullmatch=True)
)
def test_ids_and_numbers_make_no_other_kind(number: int, byte: int, task: str) -> None:
    said = f"task {task} at 10.0.{byte}.{byte}:80 failed {number} times"
    assert without_variables(said) == "task <id> at <address> failed <number> times"


def test_names_are_stable_over_nights_seeds_values_and_engines(tmp_path: Path) -> None:
    first = store_run(tmp_path, [9.0, 8.0], limit=5.0)
    other = store_run(tmp_path, [7.0], day=2, version="26.1.5", limit=6.0)
    names = {failure.name for run in (first, other) for failure in failures_of(run)}
    # A name of another night, too: whoever acknowledges it writes it into a file.
    assert names == {"leader_killed[node]/time-to-a-new-leader/c8c728"}


def test_other_measures_reasons_and_scenarios_are_other_kinds(tmp_path: Path) -> None:
    runs = [
        store_run(tmp_path, [9.0], limit=5.0),
        store_run(tmp_path, [9.0], day=2, limit=5.0, measure="longest gap"),
        store_run(tmp_path, [9.0], day=3, limit=5.0, inputs={"scenario": "a.py::test_b"}),
        store_run(tmp_path, [9.0], day=4, limit=5.0, doubt="the lab broke"),
        store_run(tmp_path, [9.0], day=5, limit=5.0, doubt="the load ended early"),
    ]
    failures = [failure for run in runs for failure in failures_of(run)]
    assert len({failure.name for failure in failures}) == 5
    assert [failure.weight for failure in failures] == ["fail"] * 3 + ["unknown"] * 2


def test_a_passing_trial_has_no_failure_and_a_blind_control_has(tmp_path: Path) -> None:
    assert list(failures_of(store_run(tmp_path, [1.0], limit=5.0))) == []
    blind = store_run(tmp_path, [1.0], day=2, limit=5.0, inputs={"control": True})
    [failure] = failures_of(blind)
    assert failure.weight == "fail"


def test_a_trial_without_a_record_is_a_failure(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0, 1.0], limit=5.0)
    (run.trials[1].folder / "trial.json").unlink()
    [failure] = failures_of(read_run(run.folder))
    assert (failure.scenario, failure.engine) == ("leader-killed-node", "28.5.2")
    assert failure.weight == "unknown"


def test_states_over_nights(tmp_path: Path) -> None:
    good = store_run(tmp_path, [1.0], limit=5.0).folder
    bad = store_run(tmp_path, [9.0], day=2, limit=5.0).folder
    again = store_run(tmp_path, [8.0], day=3, limit=5.0).folder
    healed = store_run(tmp_path, [1.0], day=4, limit=5.0).folder
    [(_, name)] = kinds_of(good, bad)
    assert kinds_of(good) == []
    assert kinds_of(good, bad) == [("new", name)]
    assert kinds_of(good, bad, again) == [("known", name)]
    assert kinds_of(good, bad, again, healed) == [("gone", name)]
    assert kinds_of(bad, healed, again) == [("known", name)]
    [one] = standings([night_of(read_run(run)) for run in (good, bad, again)])
    assert (one.nights, one.of) == (2, 3)
    assert (one.first_seen, one.last_seen) == (bad.name, again.name)


def test_a_trial_without_a_record_is_gone_when_a_night_has_its_records(tmp_path: Path) -> None:
    bad = store_run(tmp_path, [1.0], limit=5.0)
    (bad.trials[0].folder / "trial.json").unlink()
    other = store_run(
        tmp_path, [1.0], day=2, limit=5.0, inputs={"scenario": "scenarios/test_b.py::test_b"}
    ).folder
    healed = store_run(tmp_path, [1.0], day=3, limit=5.0).folder
    [(_, name)] = kinds_of(bad.folder)
    assert kinds_of(bad.folder, other) == []
    assert kinds_of(bad.folder, healed) == [("gone", name)]


def test_a_night_that_did_not_run_a_scenario_says_nothing_of_it(tmp_path: Path) -> None:
    bad = store_run(tmp_path, [9.0], limit=5.0).folder
    other = store_run(
        tmp_path, [1.0], day=2, limit=5.0, inputs={"scenario": "scenarios/test_b.py::test_b"}
    ).folder
    again = store_run(tmp_path, [9.0], day=3, limit=5.0).folder
    assert kinds_of(bad, other) == []
    [one] = standings([night_of(read_run(run)) for run in (bad, other, again)])
    assert (one.state, one.nights, one.of) == ("known", 2, 2)


def test_what_is_known_on_one_engine_is_new_on_another(tmp_path: Path) -> None:
    first = store_run(tmp_path, [9.0], limit=5.0).folder
    writer = RunWriter.create(tmp_path, command=[], harness="0.1")
    for version in ("28.5.2", "26.1.5"):
        store_trial(writer, given(version), {LEADER: 9.0}, limit=5.0)
    [one] = standings([night_of(read_run(run)) for run in (first, writer.folder)])
    assert (one.state, one.new_on) == ("new", ("26.1.5",))


def acknowledgements(folder: Path, text: str) -> Path:
    path = folder / "chaos-acknowledged.toml"
    path.write_text(text)
    return path


def test_an_acknowledgement_holds_on_its_engines_only(tmp_path: Path) -> None:
    nights = [
        night_of(store_run(tmp_path, [9.0], limit=5.0)),
        night_of(store_run(tmp_path, [9.0], day=2, limit=5.0, version="26.1.5")),
    ]
    name = nights[0].kinds[0].name
    for engines, state in (("", "acknowledged"), ('"28.5.2"', "new"), ('"26.1.5"', "acknowledged")):
        limited = f"engines = [{engines}]" if engines else ""
        path = acknowledgements(
            tmp_path, f'[[acknowledged]]\nfailure = "{name}"\nnote = "#1"\n{limited}\n'
        )
        [one] = standings(nights, read_acknowledged(path))
        assert (one.state, one.note) == (state, "#1" if state == "acknowledged" else "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[acknowledged]]\nfailure = "a"\n', "line 1: Object missing required field `note`"),
        ('\n[[acknowledged]]\nfailure = "a"\nnote = 3', "line 2: Expected `str`, got `int`"),
        ('[[acknowledged]]\nfailure = "a"\nnote = " "', "line 1: note is empty"),
        ('[[acknowledged]]\nfailure = "a"\nnotes = ""', "line 1: Object contains unknown field"),
        ('[[acknowledged]]\nfailure = "a"\nnote = "b"\nline = 3', "unknown field `line`"),
        ("[[acknowledge]]\n", "unknown field `acknowledge`"),
        ("[[acknowledged]]\nfailure = a", "line 2, column 11"),
        ('[[acknowledged]]\nfailure = "a"\nnote = "b"\n' * 2, "line 4: 'a' is acknowledged in"),
    ],
)
def test_a_wrong_file_is_a_sentence_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_acknowledged(acknowledgements(tmp_path, text))
    assert said in str(caught.value)


def test_the_command_remembers_nights_whose_runs_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    command = ["results", "failures", "--history", "kept/failures.json"]
    store_run(Path("reports"), [9.0], limit=5.0)
    assert main.call(command) == 1
    out, err = capsys.readouterr()
    assert "1 new" in out
    assert "::error title=new%3A leader_killed[node]/time-to-a-new-leader/" in err
    assert "new on 28.5.2" in summary.read_text()
    shutil.rmtree("reports")
    store_run(Path("reports"), [8.0], day=2, limit=5.0)
    assert main.call(command) == 0
    assert "1 known" in capsys.readouterr().out
    assert main.call([*command, "--fail-on", "known"]) == 1
    assert main.call([*command, "--json"]) == 0
    capsys.readouterr()
    assert main.call([*command, "--since", "2026-11-02"]) == 1  # the first night does not count
    assert len(read_history(Path("kept/failures.json")).nights) == 2
    Path("kept/failures.json").write_text("[]")
    assert main.call(command) == 64
    assert "kept/failures.json is not a history of failures" in capsys.readouterr().err


def test_the_command_with_acknowledgements_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    store_run(Path("reports"), [9.0], limit=5.0)
    assert main.call(["results", "failures", "--json"]) == 1
    [one] = json.loads(capsys.readouterr().out)["failures"]
    name = one["kind"]["name"]
    path = acknowledgements(
        tmp_path,
        f'[[acknowledged]]\nfailure = "{name}"\nnote = "moby#1"\n'
        '[[acknowledged]]\nfailure = "b"\nnote = "gone"\n',
    )
    assert main.call(["results", "failures", "--acknowledged", str(path)]) == 0
    out, err = capsys.readouterr()
    assert "note: moby#1" in out
    assert "line 4: no night of 1 has a failure 'b'" in err


def test_only_unknown_trials_are_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.call(["results", "failures"]) == 64
    assert "no run under reports" in capsys.readouterr().err
    store_run(Path("reports"), [1.0], limit=5.0, doubt="the lab broke")
    assert main.call(["results", "failures"]) == 2
