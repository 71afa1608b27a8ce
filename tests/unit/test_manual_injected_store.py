"""The book of an open lab: what is injected is known to whoever looks next."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import FaultError, LabError, UsageError
from harness.manual.injected_store import InjectedStore, Keeper, Page
from harness.manual.open_lab import BusyError, OpenLab
from harness.manual.session import parse_words
from harness.manual.status import lines

MODEL = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("faults_model.py"))))


@pytest.fixture
def trial(tmp_path):
    trial = MODEL.open_trial(tmp_path / "trial")
    yield trial
    trial.journal.close()


@pytest.fixture
def book(tmp_path):
    return InjectedStore(tmp_path)


@pytest.fixture
def limited(trial, book):
    fault = MODEL.Limited(trial, MODEL.ModelNode("m1"))
    fault.made_from = ("m1", {})
    Keeper(book, trial)
    return fault


def test_a_page_is_there_before_anything_is_touched_and_goes_with_the_heal(book, limited):
    seen = []
    change = limited.change
    limited.change = lambda: (seen.extend(book.pages()), change())
    limited.inject()
    [before] = seen
    assert (before.id, before.fault, before.target) == ("limited-1", "limited", "m1")
    assert before.evidence == ""
    [page] = book.pages()
    assert page.evidence == "seen"
    assert page.memory == {"before": "none"}
    assert 0 <= page.seconds < 60
    limited.heal()
    assert book.pages() == []


def test_one_that_cannot_be_undone_keeps_its_page(book, limited):
    limited.trouble = {"evidence": [FaultError("no")], "undo": [FaultError("no way back")]}
    with pytest.raises(FaultError, match="no"):
        limited.inject()
    [page] = book.pages()
    assert page.evidence == ""
    limited.heal()
    assert book.pages() == []


def test_a_fault_that_no_other_process_could_make_is_not_begun(book, limited):
    limited.made_from = None
    with pytest.raises(FaultError, match="not made from text"):
        limited.inject()
    assert "apply" not in limited.done
    assert book.pages() == []


def test_the_next_number_is_free(book):
    assert book.last_number() == 0
    for number in (3, 12):
        facts = {"fault": "x-y", "target": "m1", "parameters": {}, "memory": {}, "since": number}
        book.write(Page(id=f"x-y-{number}", **facts))
    assert book.last_number() == 12
    assert [page.id for page in book.pages()] == ["x-y-3", "x-y-12"]
    book.strike("x-y-3")
    book.strike("x-y-3")
    with pytest.raises(FaultError, match="no fault 'x-y-3' is injected") as refusal:
        book.page("x-y-3")
    assert refusal.value.hint == "injected are: x-y-12"


def test_a_page_nobody_can_read_is_said(book):
    book.folder.mkdir()
    (book.folder / "torn.json").write_text('{"id": ')
    with pytest.raises(LabError, match=r"torn\.json"):
        book.pages()


def test_parameters_are_written_with_a_sign():
    assert parse_words(["loss=10%", "flags=--a=b"]) == {"loss": "10%", "flags": "--a=b"}
    for words in (["loss"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(UsageError):
            parse_words(words)


def test_a_lab_that_is_gone_is_said(tmp_path):
    with pytest.raises(LabError, match="no lab"), OpenLab(tmp_path).entered():
        pass
    (tmp_path / "lab.json").write_text('{"keeper": 999999999, "nodes": {}, "client_hosts": {}}')
    with pytest.raises(LabError, match="has ended"), OpenLab(tmp_path).entered():
        pass


def test_only_one_at_a_time_is_in_a_lab(tmp_path):
    from filelock import FileLock

    with (
        FileLock(tmp_path / "by-hand.lock", is_singleton=False),
        pytest.raises(BusyError, match="another command"),
        OpenLab(tmp_path).entered(patience=0.01),
    ):
        pass


def test_status_says_what_is_wrong_with_a_fault():
    page = {"id": "a-1", "fault": "a", "target": "m1", "parameters": {"x": "1"}, "seconds": 3.2}
    node = {"address": "198.18.0.101", "engine": "26.1.5"}
    nodes = {
        "m1": {**node, "up": True, "dockerd": True, "answers": True},
        "m2": {**node, "up": True, "dockerd": True, "answers": False},
        "m3": {**node, "up": True, "dockerd": False, "answers": False},
        "w1": {**node, "up": False, "dockerd": False, "answers": False},
    }
    facts = {"lab": "l", "folder": "/l", "topology": "1m", "leader": "m1", "nodes": nodes}
    said = "\n".join(
        lines(
            facts
            | {
                "injected": [
                    {**page, "evidence": "", "trouble": "", "kept_up_by": None},
                    {**page, "evidence": "seen", "trouble": "stuck", "kept_up_by": None},
                    {**page, "evidence": "seen", "trouble": "", "kept_up_by": 17},
                ]
            }
        )
    )
    for words in (
        "m1 leads",
        "does not answer",
        "dockerd does not run",
        "switched off",
        "a-1 on m1 x=1, 3 s ago",
        "has ended in the middle of it",
        "could not be healed: stuck",
        "as long as process 17 lives",
    ):
        assert words in said
    quiet = "\n".join(lines(facts | {"nodes": None, "injected": []}))
    assert "another command is at work" in quiet
    assert "nothing is injected" in quiet
