"""`swarm-chaos results`, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stored_runs import store_run

from harness.cli import main

FIRST, SECOND = "20261101T000000Z", "20261102T000000Z"


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    store_run(tmp_path / "reports", [1.0, 9.0], limit=5.0)
    store_run(tmp_path / "reports", [3.0], day=2, version="26.1.5", limit=5.0)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "reports"


def test_list(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["results", "list", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["run"], first["as_expected"], first["not_as_expected"]) == (FIRST, 1, 1)
    assert second["engines"] == ["26.1.5"]
    assert main.call(["results", "list"]) == 0
    assert SECOND in capsys.readouterr().out


def test_check(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["results", "check", FIRST, SECOND]) == 0
    assert f"{FIRST}: 2 trials read, no damage found" in capsys.readouterr().out
    trial = next((reports / SECOND / "trials").iterdir())
    (trial / "journal.jsonl").unlink()
    assert main.call(["results", "check"]) == 2
    assert "missing: journal.jsonl" in capsys.readouterr().out


def test_merge_export_and_import(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["results", "merge", FIRST, SECOND, "--into", "all"]) == 0
    assert capsys.readouterr().out == "all: 3 trials from 2 runs\n"
    assert main.call(["results", "export", "all"]) == 0
    assert capsys.readouterr().out == "all.tar.gz\n"
    assert main.call(["results", "import", "all.tar.gz", "--reports", "other"]) == 0
    assert len(list((tmp_path / "other" / "all" / "trials").iterdir())) == 3
    whole = (tmp_path / "all.tar.gz").read_bytes()
    (tmp_path / "torn.tar.gz").write_bytes(whole[: len(whole) - 60])
    capsys.readouterr()
    assert main.call(["results", "import", "torn.tar.gz", "--reports", "other"]) == 2
    out, err = capsys.readouterr()
    assert out == "other/all-2\n"
    assert "damaged" in err


def test_merge_into_what_is_there_is_refused(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["results", "merge", FIRST, "--into", "reports"]) == 64
    assert "exists already" in capsys.readouterr().err


def test_schema_metrics_badge_and_history(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["results", "schema", "trial"]) == 0
    assert json.loads(capsys.readouterr().out)["$id"] == "urn:swarm-chaos:trial:1"
    assert main.call(["results", "metrics", FIRST, SECOND]) == 0
    assert capsys.readouterr().out.count("swarm_chaos_measure{") == 3
    assert main.call(["results", "badge", FIRST]) == 0
    assert "1 of 2 not as expected" in capsys.readouterr().out
    assert main.call(["results", "badge", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["message"] == "1 as expected"
    assert main.call(["results", "history"]) == 0
    assert "too few to tell" in capsys.readouterr().out
    assert main.call(["results", "history", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    for command in ("losses", "growth"):
        assert main.call(["results", command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == []
    assert main.call(["results", "history", "--all"]) == 0
    assert "too few runs to tell" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "export", "metrics", "badge"])
def test_no_run_at_all_is_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.call(["results", command]) == 64
    assert "no run under reports yet" in capsys.readouterr().err
