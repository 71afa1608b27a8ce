"""What is injected in an open lab is known to the next process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults_model import Limited, ModelNode, open_trial

from harness.cli import main
from harness.errors import FaultError, LabError, UsageError
from harness.manual.injected_store import InjectedFault, InjectedStore, StoreUpdater
from harness.manual.open_lab import BusyError, OpenLab
from harness.manual.session import parse_parameters
from harness.manual.status import condition_of, describe_fault
from harness.trial import Trial


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    trial = open_trial(tmp_path / "trial")
    yield trial
    trial.journal.close()


@pytest.fixture
def store(tmp_path: Path) -> InjectedStore:
    return InjectedStore(tmp_path)


@pytest.fixture
def limited(trial: Trial, store: InjectedStore) -> Any:
    fault = Limited(trial, ModelNode("m1"))
    fault.made_from = ("m1", {})
    StoreUpdater(store, trial)
    return fault


def test_a_fault_is_recorded_before_anything_is_touched_and_goes_with_the_heal(
    store: InjectedStore, limited: Any
) -> None:
    seen = []
    change = limited.change

    def look_and_change() -> None:
        seen.extend(store.all())
        change()

    limited.change = look_and_change
    limited.inject()
    [before] = seen
    assert (before.id, before.fault, before.target) == ("limited-1", "limited", "m1")
    assert before.evidence == ""
    [injected] = store.all()
    assert injected.evidence == "seen"
    assert injected.memory == {"before": "none"}
    assert 0 <= injected.seconds < 60
    limited.heal()
    assert store.all() == []


def test_one_that_cannot_be_undone_stays_recorded(store: InjectedStore, limited: Any) -> None:
    limited.trouble = {"evidence": [FaultError("no")], "undo": [FaultError("no way back")]}
    with pytest.raises(FaultError, match="no"):
        limited.inject()
    [injected] = store.all()
    assert injected.evidence == ""
    limited.heal()
    assert store.all() == []


def test_a_fault_that_no_other_process_could_make_is_not_begun(
    store: InjectedStore, limited: Any
) -> None:
    limited.made_from = None
    with pytest.raises(FaultError, match="not made from text"):
        limited.inject()
    assert "apply" not in limited.done
    assert store.all() == []


def test_the_next_number_is_free(store: InjectedStore) -> None:
    assert store.last_number() == 0
    for number in (3, 12):
        facts: Any = {
            "fault": "x-y",
            "target": "m1",
            "parameters": {},
            "memory": {},
            "since": number,
        }
        store.write(InjectedFault(id=f"x-y-{number}", **facts))
    assert store.last_number() == 12
    assert [each.id for each in store.all()] == ["x-y-3", "x-y-12"]
    store.remove("x-y-3")
    store.remove("x-y-3")
    with pytest.raises(FaultError, match="no fault 'x-y-3' is injected") as refusal:
        store.get("x-y-3")
    assert refusal.value.hint == "injected are: x-y-12"


def test_a_record_that_cannot_be_read_is_an_error(store: InjectedStore) -> None:
    store.folder.mkdir()
    (store.folder / "torn.json").write_text('{"id": ')
    with pytest.raises(LabError, match=r"torn\.json"):
        store.all()


def test_parameters_are_written_with_a_sign() -> None:
    assert parse_parameters(["loss=10%", "flags=--a=b"]) == {"loss": "10%", "flags": "--a=b"}
    for words in (["loss"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(UsageError):
            parse_parameters(words)


def test_a_lab_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no lab"), OpenLab(tmp_path).entered():
        pass
    (tmp_path / "lab.json").write_text('{"keeper": 999999999, "nodes": {}, "client_hosts": {}}')
    with pytest.raises(LabError, match="has ended"), OpenLab(tmp_path).entered():
        pass


def test_only_one_at_a_time_is_in_a_lab(tmp_path: Path) -> None:
    from filelock import FileLock

    with (
        FileLock(tmp_path / "by-hand.lock", is_singleton=False),
        pytest.raises(BusyError, match="another command"),
        OpenLab(tmp_path).entered(patience=0.01),
    ):
        pass


NODE = {"address": "198.18.0.101", "engine": "26.1.5"}


@pytest.mark.parametrize(
    ("up", "dockerd", "answers", "condition"),
    [
        (True, True, True, "answers"),
        (True, True, False, "dockerd does not answer"),
        (True, False, False, "dockerd is not running"),
        (False, False, False, "switched off"),
    ],
)
def test_a_nodes_condition_is_said(up: bool, dockerd: bool, answers: bool, condition: str) -> None:
    assert condition_of({"up": up, "dockerd": dockerd, "answers": answers}) == condition


@pytest.mark.parametrize(
    ("evidence", "trouble", "kept_up_by", "said"),
    [
        ("", "", None, "ended before it could prove it"),
        ("seen", "stuck", None, "could not be healed: stuck"),
        ("seen", "", 17, "as long as process 17 lives"),
    ],
)
def test_what_is_wrong_with_a_fault_is_said(
    evidence: str, trouble: str, kept_up_by: int | None, said: str
) -> None:
    fault = {"id": "a-1", "fault": "a", "target": "m1", "parameters": {"x": "1"}, "seconds": 3.2}
    rest = {"evidence": evidence, "trouble": trouble, "kept_up_by": kept_up_by}
    text = "\n".join(describe_fault(fault | rest))
    assert "a-1 on m1 x=1, 3 s ago" in text
    assert said in text


def test_the_command_shows_nodes_and_says_when_the_lab_is_busy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = {"m1": {**NODE, "up": True, "dockerd": True, "answers": True}}
    facts = {"lab": "l", "folder": "/l", "leader": "m1", "nodes": nodes, "injected": []}
    busy = facts | {"nodes": None}
    shown = iter([facts, busy])
    monkeypatch.setattr("harness.cli.status.open_labs", lambda: [1, 2])
    monkeypatch.setattr("harness.cli.status.status_of", lambda _: next(shown))
    assert main.call(["status"]) == 0
    said = capsys.readouterr().out
    assert "m1 leads" in said
    assert "m1    198.18.0.101  26.1.5  answers" in said
    assert "another command is using it" in said
    assert said.count("nothing is injected") == 2
