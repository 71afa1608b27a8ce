"""What must not look like an answer: the smallest scenarios that once did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest

Scenario = Callable[..., Any]

KNOWN = """
TOLD = Expectation('told', unit='s', at_most=2)
LOST = Expectation('lost', unit='requests', at_most=5)


@pytest.mark.known_bug("moby/moby#1", measures=[TOLD])
def test_x(lab, measure):
    measure(TOLD, 3)
    {then}
"""

CONTROL = """
TOLD = Expectation('told', unit='s', at_most=2, control='test_control_x')
LOST = Expectation('lost', unit='requests', at_most=5)


@pytest.mark.control
def test_control_x(lab, measure):
    measure(TOLD, 3)
    {then}
"""


@pytest.mark.parametrize(
    ("text", "shown"), [(KNOWN, "known bug moby/moby#1"), (CONTROL, "a control")]
)
@pytest.mark.parametrize(
    ("then", "why"),
    [
        ("measure(LOST, None)", "undecided: lost"),
        ("raise ValueError('nobody answers')", "ValueError: nobody answers"),
        ("assert False, 'one is not two'", "one is not two"),
    ],
)
def test_what_was_not_measured_is_not_hidden_by_what_was_expected(
    scenario: Scenario, text: str, shown: str, then: str, why: str
) -> None:
    ran = scenario(text.format(then=then), "--controls")
    assert (ran.code, ran.counted()) == (2, {"unknown": 1}), ran.out
    assert f"does not count as {shown}: {why}" in ran.out
    assert "(seen: told" in ran.out
    [record] = ran.records()
    assert record["incomplete"].startswith(why)


def test_a_broken_bound_is_a_failure_whatever_is_raised_after_it(scenario: Scenario) -> None:
    ran = scenario(
        "def test_x(lab, measure):\n"
        "    measure(Expectation('told', unit='s', at_most=2), 3)\n"
        "    raise ValueError('nobody answers')\n"
    )
    assert (ran.code, ran.counted()) == (1, {"failed": 1}), ran.out
    [record] = ran.records()
    assert record["verdict"] == "fail"
    assert record["reason"].startswith("told")
    assert record["reason"].endswith("; then ValueError: nobody answers")
    assert "then ValueError: nobody answers" in ran.out


def test_of_an_assertion_beside_a_broken_bound_both_are_said(scenario: Scenario) -> None:
    ran = scenario(
        "def test_x(lab, measure):\n"
        "    measure(Expectation('told', unit='s', at_most=2), 3)\n"
        "    assert 1 == 2, 'one is not two'\n"
    )
    assert (ran.code, ran.counted()) == (1, {"failed": 1}), ran.out
    assert ran.records()[0]["reason"].endswith("; then one is not two")
    assert "expected otherwise: told" in ran.out
    assert "test_it.py:4" in ran.out, "where in the body"


def test_a_scenario_that_holds_nothing_against_a_bound_is_unknown(scenario: Scenario) -> None:
    ran = scenario("def test_x(lab):\n    assert lab.nodes\n")
    assert (ran.code, ran.counted()) == (2, {"unknown": 1}), ran.out
    assert ran.records()[0]["reason"] == "nothing was held against a bound"


NEEDS = "@pytest.mark.needs('netem')\ndef test_x(lab):\n    pass\n"


@pytest.mark.parametrize(("option", "code"), [((), 0), (("--strict-needs",), 2)])
def test_a_skip_for_a_missing_need_is_named_and_can_be_refused(
    scenario: Scenario, option: tuple[str, ...], code: int
) -> None:
    ran = scenario(NEEDS, *option)
    assert (ran.code, ran.counted()) == (code, {"skipped": 1}), ran.out
    assert "1 scenario was skipped for what this kernel lacks:" in ran.out
    assert "  test_it.py::test_x[stable-s1]: netem" in ran.out


def test_a_scenario_that_sets_the_clock_is_skipped_where_the_kernel_is_the_host_s(
    scenario: Scenario,
) -> None:
    ran = scenario(NEEDS.replace("netem", "settable_clock"))
    assert ran.counted() == {"skipped": 1}, ran.out
    assert "  test_it.py::test_x[stable-s1]: settable_clock" in ran.out


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        ("needs('netemm')", "the mark needs does not know netemm\n  -> did you mean netem?"),
        ("swarm(manager=3)", "the mark swarm does not take manager\n  -> it takes the keywords"),
        ("swarm(3)", "the mark swarm does not take 3"),
        ("swarm(managers='3')", "'3' is not a valid value of the mark swarm's managers"),
        ("swarm(workers=True)", "True is not a valid value of the mark swarm's workers"),
        ("swarm(engines='20')", "'20' is not a valid value of the mark swarm's engines"),
        ("swarm(serving='web')", "'web' is not a valid value of the mark swarm's serving"),
        ("swarm(managers=0)", "a swarm cannot have 0 managers"),
        ("deadline('15')", "deadline('15') is not a valid deadline"),
        ("deadline(0)", "deadline(0) is not a valid deadline"),
        ("deadline(-1.5)", "deadline(-1.5) is not a valid deadline"),
        ("deadline()", "deadline() is not a valid deadline"),
    ],
)
def test_a_mark_that_cannot_be_meant_ends_the_run_before_it_begins(
    scenario: Scenario, mark: str, why: str
) -> None:
    ran = scenario(f"@pytest.mark.{mark}\ndef test_x(lab):\n    pass\n")
    assert ran.code == 64
    assert why in ran.out + ran.err
    assert "test_it.py::test_x" in ran.out + ran.err
    assert not (ran.folder / "reports").exists()


HANGING = """
import signal, time


@pytest.mark.deadline(0.5)
def test_x(lab, measure, faults):
    measure(KEPT, 1)
    with faults.kill_node(lab.node("m1")):
        {hang}


def test_alarm_is_restored():
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
"""


@pytest.mark.parametrize(
    "hang",
    [
        "time.sleep(60)",
        "while True:\n            try:\n                time.sleep(60)\n"
        "            except BaseException:\n                break",
    ],
    ids=["hangs", "swallows"],
)
def test_a_trial_past_its_deadline_is_unknown_and_healed(scenario: Scenario, hang: str) -> None:
    ran = scenario(HANGING.format(hang=hang))
    assert (ran.code, ran.counted()) == (2, {"unknown": 1, "passed": 1}), ran.out
    [record] = ran.records()
    assert record["reason"] == "the trial took longer than its deadline of 0.5 s"
    assert record["seconds"] < 30
    assert "fault.healed" in ran.kinds()


THREAD = """
import threading


def fails():
    raise ValueError("nobody answers")


def test_x(lab, measure):
    measure(KEPT, 1)
    thread = threading.Thread(target=fails, name="asker")
    {run}
"""


@pytest.mark.parametrize("warnings", [(), ("-W", "default")], ids=["error", "warning"])
def test_a_thread_that_raises_makes_record_and_pytest_say_unknown(
    scenario: Scenario, warnings: tuple[str, ...]
) -> None:
    ran = scenario(THREAD.format(run="thread.start(); thread.join()"), *warnings)
    assert (ran.code, ran.counted()) == (2, {"unknown": 1}), ran.out
    [record] = ran.records()
    assert (record["verdict"], record["reason"]) == (
        "unknown",
        "the thread asker ended with ValueError: nobody answers",
    )


LATE = """
import threading


@pytest.fixture
def asker():
    go = threading.Event()

    def fails():
        go.wait()
        raise ValueError("nobody answers")

    thread = threading.Thread(target=fails, name="asker")
    thread.start()
    yield
    go.set()
    thread.join()


def test_x(asker, lab, measure):
    measure(KEPT, 1)
"""


def test_a_thread_that_raises_after_the_verdict_takes_it_back(scenario: Scenario) -> None:
    ran = scenario(LATE)
    assert ran.code == 2, ran.out
    [record] = ran.records()
    assert record["verdict"] == "unknown"
    assert record["reason"].startswith("after the verdict: PytestUnhandledThreadExceptionWarning")


def junit_properties(ran: Any) -> dict[str, str]:
    """The properties of the only test case, by name."""
    [case] = ET.parse(ran.run / "junit.xml").getroot().iter("testcase")
    return {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}


@pytest.mark.parametrize(("value", "verdict"), [(1, "pass"), (3, "fail")])
def test_junit_has_verdict_digest_and_measures(
    scenario: Scenario, value: int, verdict: str
) -> None:
    ran = scenario(f"def test_x(lab, measure):\n    measure(KEPT, {value})\n")
    [record] = ran.records()
    assert junit_properties(ran) == {
        "verdict": verdict,
        "trial": record["id"],
        "digest": record["digest"],
        "measure:kept [s]": f"{float(value)}",
    }


WITHOUT = """
from harness.trial import oracles


@pytest.mark.without_oracle({mark})
def test_x(lab, measure):
    measure(KEPT, 1)
"""


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        ("oracles.LEADERS", "an oracle is switched off without a reason"),
        ("oracles.LEADERS, reason='because'", "an oracle is switched off without a reason"),
        ("oracles.LEADERS, reason=7", "an oracle is switched off without a reason"),
        ("'leaders', reason='there are two swarms here'", "takes one oracle and a reason"),
        ("KEPT, reason='there are two swarms here'", "takes one oracle and a reason"),
        ("reason='there are two swarms here'", "takes one oracle and a reason"),
        ("oracles.LEADERS, why='there are two swarms here'", "takes one oracle and a reason"),
    ],
)
def test_an_oracle_is_switched_off_by_name_and_with_a_reason(
    scenario: Scenario, mark: str, why: str
) -> None:
    ran = scenario(WITHOUT.format(mark=mark))
    assert ran.code == 64
    assert why in ran.out + ran.err


OFF = """
from types import SimpleNamespace
from harness.errors import LabError
from harness.trial import oracles


@pytest.fixture
def asked(request, lab):
    from harness.pytest_plugin.trial_setup import setup_of

    setup = setup_of(request)

    def record(swarm, off):
        for name, reason in off.items():
            setup.trial.oracle_off(name, reason)
        {record}

    setup.oracles = SimpleNamespace(record=record)


{mark}
def test_x(asked, measure):
    measure(KEPT, {value})
"""
WRITTEN = "@pytest.mark.without_oracle(oracles.LEADERS, reason='there are two swarms here')"
CONTROLLED = (
    "BROKEN = Expectation('broken', unit='s', at_most=2, control='test_x')\n"
    "KEPT = BROKEN\n"
    "@pytest.mark.control"
)


def test_the_reason_is_on_record(scenario: Scenario) -> None:
    ran = scenario(OFF.format(mark=WRITTEN, record="pass", value=1))
    assert ran.code == 0, ran.out
    [record] = ran.records()
    assert record["oracles_off"] == {"raft terms with two leaders": "there are two swarms here"}
    assert "oracle.off" in ran.kinds()


def test_a_control_is_not_held_against_what_its_broken_swarm_cannot_keep(
    scenario: Scenario,
) -> None:
    ran = scenario(OFF.format(mark=CONTROLLED, record="pass", value=3), "--controls")
    assert ran.code == 0, ran.out
    [record] = ran.records()
    assert set(record["oracles_off"].values()) == {"a control: its swarm is broken on purpose"}
    assert "containers that no task wants" in record["oracles_off"]
    assert "dockerds that died unasked" not in record["oracles_off"]


def test_oracles_that_cannot_be_asked_leave_a_doubt(scenario: Scenario) -> None:
    ran = scenario(OFF.format(mark="", record="raise KeyError('ID')", value=1))
    assert (ran.code, ran.counted()) == (2, {"unknown": 1}), ran.out
    [record] = ran.records()
    assert record["reason"] == "the oracles could not be asked: KeyError: 'ID'"
