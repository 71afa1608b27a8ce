"""Measures for spreadsheets: every trial's, and those of an engine's trials together."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given as given_
from hypothesis import strategies as st
from stored_runs import given, store_run, store_trial

from harness.cli.results import results
from harness.results import RunWriter, read_run
from harness.results.table import TrialRow, as_csv, engine_rows, trial_rows
from harness.wait import Elapsed

LONG = Elapsed(30.0, reached=False, last="")


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_measure_of_every_trial_has_a_row(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.5, LONG, None], limit=20.0)
    rows = read(as_csv(TrialRow._fields, trial_rows([run])))
    assert [(r["seed"], r["value"], r["censored"], r["verdict"]) for r in rows] == [
        ("1", "1.5", "false", "pass"),
        ("2", "30", "true", "fail"),
        ("3", "", "false", "unknown"),
    ]
    assert {r["limit"] for r in rows} == {"below 20"}


def test_an_engines_trials_are_one_row_with_what_lies_between(tmp_path: Path) -> None:
    run = store_run(tmp_path, [4.0, 1.0, LONG, 2.0], limit=20.0)
    [row] = engine_rows([run])
    assert (row.trials, row.min, row.median, row.max) == (4, 1.0, 3.0, 30.0)
    assert (row.censored, row.broken) == (1, 1)


def test_engines_come_by_their_version_and_measures_as_they_were_taken(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="1")
    for number, version in enumerate(("28.5.2", "9.1.0", "20.10.5")):
        store_trial(writer, given(version, seed=number), {"z first": 1.0, "a second": 2.0})
    found = [(row.engine, row.measure) for row in engine_rows([read_run(writer.folder)])]
    assert found == [
        (version, measure)
        for version in ("9.1.0", "20.10.5", "28.5.2")
        for measure in ("z first", "a second")
    ]


def test_controls_are_left_out_of_an_engines_figures(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="1")
    store_trial(writer, given(control=True), {"x": 1.0})
    run = read_run(writer.folder)
    assert engine_rows([run]) == []
    assert [row.control for row in trial_rows([run])] == [True]


def test_settings_and_repetitions_are_told_apart_as_in_a_comparison(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="1")
    for to in ("26.1.5", "28.5.2"):
        store_trial(writer, given(options={"other_engines": to}), {"x": 1.0})
    for _ in range(2):
        store_trial(writer, given(clock="virtual", lab="microvm"), {"x": 2.0})
    found = [(row.options, row.clock, row.trials) for row in engine_rows([read_run(writer.folder)])]
    assert sorted(found) == [
        ("", "virtual", 1),
        ("other_engines=26.1.5", "real", 1),
        ("other_engines=28.5.2", "real", 1),
    ]


@given_(words=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_words_come_back_from_the_csv(
    tmp_path_factory: pytest.TempPathFactory, words: str
) -> None:
    writer = RunWriter.create(tmp_path_factory.mktemp("csv"), command=[], harness="1")
    store_trial(writer, given(topology=words), {"x": 1.0})
    [row] = read(as_csv(TrialRow._fields, trial_rows([read_run(writer.folder)])))
    assert row["topology"] == words


def test_the_command_prints_either(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0, 2.0])
    for words, count in (((), 2), (("--of", "engines"), 1)):
        done = CliRunner().invoke(results, ["table", str(run.folder), *words])
        assert done.exit_code == 0, done.output
        assert len(read(done.output)) == count
