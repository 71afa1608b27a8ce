"""How a scenario ends: outcome, exit code, what is shown, what is on record.

Real pytest runs in folders of their own, with the plugin and a lab that is only pretended.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.results import read_run


def test_a_scenario_whose_bounds_hold_passes(scenario: Callable[..., Any]) -> None:
    ran = scenario(
        "def test_calm(lab, measure):\n"
        "    '''All is well.'''\n"
        "    measure(Expectation('downtime', unit='s', at_most=2), 1)\n",
        "--seed=5",
    )
    assert (ran.code, ran.counted()) == (0, {"passed": 1}), ran.out
    [record] = ran.records()
    assert (record["verdict"], record["title"]) == ("pass", "All is well.")
    assert record["inputs"]["scenario"] == "test_it.py::test_calm"
    assert record["inputs"]["seed"] == 5
    assert "logs/m1.log" in record["files"]
    assert record["id"] in json.loads((ran.run / "run.json").read_text())["trials"]
    assert (ran.run / "index.html").stat().st_size > 1000


def test_all_measures_are_taken_before_a_broken_bound_fails_it(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario(
        "def test_x(lab, measure):\n"
        "    measure(Expectation('downtime', unit='s', at_most=2), 3)\n"
        "    measure(Expectation('lost', unit='requests', at_most=0), 7)\n"
        "    measure(Expectation('kept', unit='s', at_most=2), 1)\n"
    )
    assert (ran.code, ran.counted()) == (1, {"failed": 1})
    assert "expected otherwise: downtime: 3 s (at most 2 s expected)" in ran.out
    assert "expected otherwise: lost: 7 requests (at most 0 requests expected)" in ran.out
    assert "otherwise: kept" not in ran.out
    assert "Traceback" not in ran.out
    assert not re.search(r"test_it.py:\d", ran.out), (
        "no line of code says more than the measures do"
    )
    [record] = ran.records()
    assert [m["ok"] for m in record["measures"]] == [False, False, True]


def test_an_assertion_fails_it_and_shows_where(scenario: Callable[..., Any]) -> None:
    ran = scenario("def test_x(lab):\n    assert 1 == 2, 'one is not two'\n")
    assert (ran.code, ran.counted()) == (1, {"failed": 1})
    assert "one is not two" in ran.out
    assert "test_it.py:3" in ran.out
    assert ran.records()[0]["verdict"] == "fail"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("trial.doubt('no evidence')", "no evidence"),
        ("trial.doubt('no evidence'); assert False", "no evidence"),
        (
            "trial.measures(Expectation('downtime', unit='s', at_most=2), None)",
            "undecided: downtime",
        ),
        ("raise ValueError('broken harness')", "ValueError: broken harness"),
    ],
)
def test_what_says_nothing_is_unknown_and_never_green(
    scenario: Callable[..., Any], body: str, why: str
) -> None:
    ran = scenario(f"def test_x(lab, trial):\n    {body}\n")
    assert (ran.code, ran.counted()) == (2, {"unknown": 1})
    assert f"UNKNOWN test_it.py::test_x[stable-s1]: {why}" in ran.out
    [record] = ran.records()
    assert record["verdict"] == "unknown"
    assert why in record["reason"]


LATE = """
from harness.wait import NotYet, expect_state


@pytest.fixture
def formed(lab):
    {in_set_up}


def test_x(formed):
    expect_state(lambda: NotYet("nobody leads"), state="a leader", within=0)
"""


def test_a_state_that_the_body_waits_for_in_vain_is_a_failure(scenario: Callable[..., Any]) -> None:
    ran = scenario(LATE.format(in_set_up="pass"))
    assert (ran.code, ran.counted()) == (1, {"failed": 1})
    [record] = ran.records()
    assert record["verdict"] == "fail"
    assert record["reason"].endswith("for a leader; last seen: nobody leads")


def test_a_state_that_the_set_up_waits_for_in_vain_is_trouble(scenario: Callable[..., Any]) -> None:
    ran = scenario(
        LATE.format(in_set_up="expect_state(lambda: NotYet('no'), state='nodes', within=0)")
    )
    assert ran.code == 2
    [record] = ran.records()
    assert (record["verdict"], record["reason"][:13]) == ("unknown", "in the set-up")


def test_a_failure_beside_an_unknown_is_a_failure(scenario: Callable[..., Any]) -> None:
    ran = scenario(
        "def test_x(lab, trial):\n    trial.doubt('hm')\ndef test_y(lab):\n    assert False\n"
    )
    assert (ran.code, ran.counted()) == (1, {"failed": 1, "unknown": 1})


def test_a_lab_that_does_not_come_up_is_unknown_and_on_record(scenario: Callable[..., Any]) -> None:
    ran = scenario("def test_x(lab):\n    pass\n", FAKE_LAB="broken")
    assert (ran.code, ran.counted()) == (2, {"unknown": 1})
    assert "m1 did not come up: no bridge" in ran.out
    assert "Traceback" not in ran.out
    assert "fixtures.py" not in ran.out
    [record] = ran.records()
    assert (record["verdict"], record["reason"]) == (
        "unknown",
        "LabError: m1 did not come up: no bridge",
    )


def test_an_engine_that_cannot_be_had_is_unknown(scenario: Callable[..., Any]) -> None:
    ran = scenario("def test_x(lab):\n    pass\n", FAKE_ENGINE="broken")
    assert (ran.code, ran.counted()) == (2, {"unknown": 1})
    assert "the engine cannot be had" in ran.out
    assert "Traceback" not in ran.out


def test_a_lab_that_does_not_go_away_is_trouble(scenario: Callable[..., Any]) -> None:
    ran = scenario("def test_x(lab, measure):\n    measure(KEPT, 1)\n", FAKE_LAB="sticky")
    assert ran.code == 2
    assert "the lab left something behind" in ran.out
    assert "fixtures.py" not in ran.out


CONTROL = """
DOWNTIME = Expectation('downtime', unit='s', at_most=2, control='test_control_x')
LOST = Expectation('lost', unit='requests', at_most=0, control='test_control_x')


@pytest.mark.control
def test_control_x(lab, measure):
    measure(DOWNTIME, {downtime})
    measure(LOST, 7)
"""


def test_a_control_runs_only_when_asked_for(scenario: Callable[..., Any]) -> None:
    ran = scenario(CONTROL.format(downtime=3))
    assert ran.counted() == {"deselected": 1}


THOROUGH = """
@pytest.mark.thorough
def test_x(lab, measure):
    measure(Expectation('downtime', unit='s', at_most=2), 1)
"""


def test_a_thorough_case_runs_only_when_asked_for(scenario: Callable[..., Any]) -> None:
    assert scenario(THOROUGH).counted() == {"deselected": 1}
    assert scenario(THOROUGH, "--thorough").counted() == {"passed": 1}


def test_a_control_that_fails_as_it_says_passes(scenario: Callable[..., Any]) -> None:
    ran = scenario(CONTROL.format(downtime=3), "--controls")
    assert (ran.code, ran.counted()) == (0, {"passed": 1})
    [record] = ran.records()
    assert (record["verdict"], record["must_break"]) == ("fail", ["downtime", "lost"])


def test_a_blind_control_fails(scenario: Callable[..., Any]) -> None:
    ran = scenario(CONTROL.format(downtime=1), "--controls")
    assert (ran.code, ran.counted()) == (1, {"failed": 1})
    assert "this control is blind" in ran.out


STATED = """
DOWNTIME = Expectation("downtime", unit="s", at_most=2, control="test_control_x")
LOST = Expectation("lost at {entry}", unit="requests", exactly=0, control={control})


@pytest.mark.control
def test_control_x(lab, measure):
    measure(DOWNTIME, 3)
    measure(LOST, 0, entry="m1")
    measure(LOST, <lost>, entry="m2")


def test_control_unmarked(lab):
    pass
"""


def stated(lost: int = 1, control: str = '("test_control_x",)') -> str:
    """The text of a file whose expectations name their control."""
    return STATED.replace("{control}", control).replace("<lost>", str(lost))


def test_a_control_has_to_break_the_expectations_that_name_it(scenario: Callable[..., Any]) -> None:
    ran = scenario(stated(), "--controls", "-k", "control_x")
    assert (ran.code, ran.counted()["passed"]) == (0, 1), ran.out
    [record] = ran.records()
    assert record["must_break"] == ["downtime", "lost at {entry}"]


def test_a_control_that_breaks_only_one_of_them_is_blind(scenario: Callable[..., Any]) -> None:
    ran = scenario(stated(lost=0), "--controls", "-k", "control_x")
    assert ran.code == 1
    assert "this control is blind" in ran.out


@pytest.mark.parametrize("control", ["'test_control_y'", "'test_control_unmarked'"])
def test_an_expectation_whose_control_does_not_exist_ends_the_run_before_it_begins(
    scenario: Callable[..., Any], control: str
) -> None:
    ran = scenario(stated(control=control))
    assert ran.code == 64
    name = control.strip("'")
    assert f"'lost at {{entry}}' has the control '{name}', which is not a control" in (
        ran.out + ran.err
    )
    assert not (ran.folder / "reports").exists()


def test_a_control_whose_mark_has_arguments_ends_the_run_before_it_begins(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario(stated().replace("mark.control", "mark.control('downtime')"), "--controls")
    assert ran.code == 64
    assert "the mark control takes no arguments" in ran.out + ran.err


def test_a_control_that_no_expectation_names_ends_the_run_before_it_begins(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario("@pytest.mark.control\ndef test_x(lab):\n    pass\n", "--controls")
    assert ran.code == 64
    assert "no expectation names this control" in ran.out + ran.err


KNOWN = """
TOLD = Expectation('told', unit='s', at_most=2)
LOST = Expectation('lost', unit='requests', at_most=5)


@pytest.mark.known_bug("moby/moby#1", {mark})
def test_x(lab, measure):
    measure(TOLD, {told})
    measure(LOST, {lost})
"""


def test_a_known_bug_that_shows_is_an_expected_failure(scenario: Callable[..., Any]) -> None:
    ran = scenario(KNOWN.format(mark="engines='<27', measures=[TOLD]", told=3, lost=1), "-rx")
    assert (ran.code, ran.counted()) == (0, {"xfailed": 1}), ran.out
    assert "known bug moby/moby#1: told: 3 s (at most 2 s expected)" in ran.out
    [record] = ran.records()
    assert (record["verdict"], record["known_bugs"]) == ("fail", ["moby/moby#1"])
    assert record["must_break"] == ["told"]
    assert "fails: known bug" in ran.out


def test_a_known_bug_that_is_gone_fails_the_suite(scenario: Callable[..., Any]) -> None:
    ran = scenario(KNOWN.format(mark="measures=[TOLD]", told=1, lost=1))
    assert (ran.code, ran.counted()) == (1, {"failed": 1})
    assert "the known bug moby/moby#1 does not show with engine 26.1.5: not by told" in ran.out
    assert "passes: bug gone" in ran.out
    assert not re.search(r"test_it.py:\d", ran.out)


def test_what_a_known_bug_does_not_explain_is_a_failure(scenario: Callable[..., Any]) -> None:
    ran = scenario(KNOWN.format(mark="measures=[TOLD]", told=3, lost=7))
    assert (ran.code, ran.counted()) == (1, {"failed": 1})
    assert "expected otherwise: lost: 7 requests" in ran.out
    assert "expected otherwise: told" not in ran.out


def test_a_bug_of_other_engines_changes_nothing(scenario: Callable[..., Any]) -> None:
    ran = scenario(KNOWN.format(mark="engines='>=28'", told=1, lost=1))
    assert (ran.code, ran.counted()) == (0, {"passed": 1})
    assert ran.records()[0]["known_bugs"] == []


def test_an_unknown_verdict_is_no_known_bug(scenario: Callable[..., Any]) -> None:
    ran = scenario(
        "@pytest.mark.known_bug('moby/moby#1')\n"
        "def test_x(lab, measure, trial):\n"
        "    measure(Expectation('told', unit='s', at_most=2), 3)\n    trial.doubt('hm')\n"
    )
    assert (ran.code, ran.counted()) == (2, {"unknown": 1})


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        ("", "names the thread that knows it"),
        ("'m#1', engines='older'", "'older' names no engines"),
        ("'m#1', engine='<28'", "known_bug knows no engine"),
        ("'m#1', measures='told'", "a list of expectations"),
    ],
)
def test_a_known_bug_that_cannot_be_meant_ends_the_run_before_it_begins(
    scenario: Callable[..., Any], mark: str, why: str
) -> None:
    ran = scenario(f"@pytest.mark.known_bug({mark})\ndef test_x(lab):\n    pass\n")
    assert ran.code == 64
    assert why in ran.out + ran.err
    assert not (ran.folder / "reports").exists()


OTHERS = """
@pytest.mark.other_engines("next")
def test_x(lab, other_engines, measure):
    assert other_engines == ("28.5.2",)
    measure(KEPT, 1)
"""


def test_the_engine_that_a_scenario_installs_is_an_input_of_its_trial(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario(OTHERS)
    assert (ran.code, ran.counted()) == (0, {"passed": 1}), ran.out
    assert ran.records()[0]["inputs"]["options"] == {"other_engines": "28.5.2"}


def test_an_upgrade_to_the_newest_engine_begins_at_the_one_before(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario(OTHERS, "--engine=newest,stable,26.1.5")
    assert (ran.code, ran.counted()) == (0, {"passed": 2})
    assert [r["inputs"]["engine"]["name"] for r in ran.records()] == ["26.1.5", "stable"]


def test_an_engine_whose_name_tells_no_release_has_none_to_be_upgraded_to(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario(OTHERS, "--engine=dir:/opt/docker", "-rs")
    assert (ran.code, ran.counted()) == (0, {"skipped": 1})
    assert "no release after dir:/opt/docker is known" in ran.out


LEFT_ACTIVE = """
def test_x(lab, faults, measure):
    measure(KEPT, 1)
    faults.kill_node(lab.node('m1')).inject()
"""


def test_a_fault_left_active_is_healed(scenario: Callable[..., Any]) -> None:
    ran = scenario(LEFT_ACTIVE)
    assert ran.code == 0
    faults = [kind for kind in ran.kinds() if kind.startswith("fault")]
    assert faults == ["fault.inject", "fault.evidence", "fault.heal", "fault.healed"]


def test_a_fault_left_active_is_healed_after_an_assertion_too(scenario: Callable[..., Any]) -> None:
    ran = scenario(f"{LEFT_ACTIVE}    assert False\n")
    assert ran.code == 1
    assert "fault.healed" in ran.kinds()


def test_a_fault_without_evidence_did_not_happen(scenario: Callable[..., Any]) -> None:
    ran = scenario(LEFT_ACTIVE, FAKE_NODE="immortal")
    assert (ran.code, ran.counted()) == (2, {"unknown": 1})
    assert "the fault node-killed-1 left no evidence: m1 is still on" in ran.out
    assert "fault.evidence" not in ran.kinds()


def test_a_fault_that_cannot_be_healed_makes_the_trial_unknown(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario(LEFT_ACTIVE, FAKE_NODE="dead for good")
    assert (ran.code, ran.counted()) == (2, {"unknown": 1})
    assert "the fault node-killed-1 could not be healed: m1 did not come up" in ran.out


def test_a_scenario_that_the_kernel_cannot_serve_makes_no_trial(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario("@pytest.mark.needs('netem')\ndef test_x(lab):\n    pass\n")
    assert (ran.code, ran.counted()) == (0, {"skipped": 1})
    assert not (ran.folder / "reports").exists()


def test_a_scenario_that_skips_itself_leaves_no_record(scenario: Callable[..., Any]) -> None:
    ran = scenario(
        "def test_x(lab):\n    pytest.skip('not today')\n"
        "def test_y(lab, measure):\n    measure(KEPT, 1)\n"
    )
    assert (ran.code, ran.counted()) == (0, {"passed": 1, "skipped": 1})
    assert len(ran.records()) == 1
    run = read_run(ran.run)
    assert (len(run.trials), run.damaged) == (1, ())
    assert "y." in ran.records()[0]["id"]


def test_a_fixture_that_skips_leaves_no_record_either(scenario: Callable[..., Any]) -> None:
    ran = scenario(
        "@pytest.fixture\ndef moody(lab):\n    pytest.skip('not today')\n"
        "def test_x(moody):\n    pass\n"
    )
    assert (ran.code, ran.counted()) == (0, {"skipped": 1})
    assert list((ran.folder / "reports").iterdir()) == [], "a run without a trial is taken back"


def test_an_interruption_heals_and_closes_and_says_so_by_its_code(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario(f"{LEFT_ACTIVE}    raise KeyboardInterrupt\ndef test_y(lab):\n    pass\n")
    assert ran.code == 130
    assert "KeyboardInterrupt" in ran.out
    assert "fault.healed" in ran.kinds()
    [record] = ran.records()
    assert (record["verdict"], record["reason"]) == ("unknown", "interrupted")


def test_engines_and_seeds_multiply(scenario: Callable[..., Any]) -> None:
    ran = scenario(
        "def test_x(lab, measure):\n    measure(KEPT, 1)\n",
        "--engine=stable,oldest",
        "--trials=2",
        "--seed=3",
    )
    assert ran.counted() == {"passed": 4}
    points = {(r["inputs"]["engine"]["name"], r["inputs"]["seed"]) for r in ran.records()}
    assert points == {(name, seed) for name in ("stable", "oldest") for seed in (3, 4)}


def test_the_scenarios_name_is_the_same_for_every_engine_and_seed(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario(
        "@pytest.mark.parametrize('victim', ['a', 'b'])\ndef test_x(victim, lab):\n    pass\n",
        "--trials=2",
    )
    assert {r["inputs"]["scenario"] for r in ran.records()} == {
        "test_it.py::test_x[a]",
        "test_it.py::test_x[b]",
    }


def test_an_even_number_of_managers_is_warned_of_on_the_terminal(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario("def test_x(lab, measure):\n    measure(KEPT, 1)\n", "--topology=4m1w")
    assert ran.code == 0
    assert "an even number of managers gains nothing" in ran.out
    assert ran.records()[0]["inputs"]["topology"] == "4m1w"


def test_tests_that_are_no_scenarios_are_left_alone(scenario: Callable[..., Any]) -> None:
    ran = scenario("def test_x():\n    assert False\n")
    assert (ran.code, ran.counted()) == (1, {"failed": 1})
    assert not (ran.folder / "reports").exists()


def test_options_that_cannot_be_meant_end_the_run_before_it_begins(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario("def test_x(lab):\n    pass\n", "--engine=stabel")
    assert ran.code == 64
    assert "unknown engine 'stabel'\n  -> did you mean stable?" in ran.out + ran.err
    assert "Traceback" not in ran.out + ran.err
    assert not (ran.folder / "reports").exists()
    assert not (ran.folder / "cache").exists()


def test_without_root_the_namespaces_lab_is_refused_and_not_skipped(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario("def test_x(lab):\n    pass\n", FAKE_UID="1000")
    assert ran.code == 2
    assert "the namespaces lab needs root" in ran.out
    assert "Traceback" not in ran.out
    assert not (ran.folder / "reports").exists()


def test_without_root_what_is_no_scenario_still_runs(scenario: Callable[..., Any]) -> None:
    assert scenario("def test_x():\n    pass\n", FAKE_UID="1000").code == 0
    listed = scenario("def test_x(lab):\n    pass\n", "--collect-only", FAKE_UID="1000")
    assert listed.code == 0


def test_reports_that_cannot_be_written_are_trouble_in_words(
    scenario: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    ran = scenario("def test_x(lab):\n    pass\n", f"--reports={tmp_path / 'file' / 'reports'}")
    assert ran.code == 2
    assert "cannot create a run's folder" in ran.out
    assert "Traceback" not in ran.out


@pytest.mark.parametrize("lab", ["microvm", "auto"])
def test_a_qemu_that_is_not_there_is_refused_before_anything_runs(
    scenario: Callable[..., Any], lab: str
) -> None:
    ran = scenario("def test_calm(lab): pass\n", f"--lab={lab}", SWARM_CHAOS_QEMU="/no/such/qemu")
    assert ran.code == 64
    assert "SWARM_CHAOS_QEMU is '/no/such/qemu'" in ran.out + ran.err
    assert not ran.run.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted by root")
@pytest.mark.parametrize("kib", [4, 16])
def test_a_full_disk_is_said_with_its_place_and_leaves_no_half_of_a_file(
    scenario: Callable[..., Any], tmp_path: Path, kib: int
) -> None:
    ran = scenario("def test_x(lab, measure):\n    measure(KEPT, 1)\n")
    assert ran.code == 0
    mount = 'mkdir full && mount -t tmpfs -o "size=$1" none full && shift && "$@"; code=$?'
    listed = "find full -type f -size 0 -name '*.xml' -o -name '*.part'; exit $code"
    done = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c", f"{mount}; {listed}", "sh", f"{kib}k"),
            *(sys.executable, "-m", "pytest", "--lab=namespaces", "--reports=full"),
        ],
        cwd=tmp_path,
        env={**os.environ, "SWARM_CHAOS_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "junit.xml could not be written: No space left on device" in said
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    assert not done.stdout.rstrip().endswith((".xml", ".part")), said
