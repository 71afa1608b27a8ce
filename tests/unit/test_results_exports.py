"""What other tools take: OpenMetrics, a badge."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given as given_
from hypothesis import strategies as st
from optionals import not_none
from stored_runs import given, store_run, store_trial

from harness.results import RunWriter, read_run
from harness.results.badge import Badge, badge_of
from harness.results.openmetrics import openmetrics
from harness.wait import Elapsed

_SAMPLE = re.compile(r'(\w+)\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (\S+)( \d+)?')
_LABEL = re.compile(r'(\w+)="((?:[^"\\\n]|\\["\\n])*)"')


def parsed(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """The samples of an OpenMetrics text: family, labels, value."""
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""]
    families = []
    for line in lines[:-2]:
        if line.startswith("# TYPE "):
            families.append(line.split()[2])
            assert line.endswith(" gauge")
        elif not line.startswith("# HELP "):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == families[-1]
            labels = {k: re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], v)
                      for k, v in _LABEL.findall(match[2])}  # fmt: skip
            yield match[1], labels, float(match[3])
    assert len(set(families)) == len(families)


def test_measures_bounds_and_verdicts_are_exported(tmp_path: Path) -> None:
    long = Elapsed(30.0, reached=False, last="")
    run = store_run(tmp_path, [1.5, long, None], limit=20.0)
    rows = list(parsed(openmetrics([run])))
    measures = {
        (r[1]["seed"], r[1]["censored"]): r[2] for r in rows if r[0] == "swarm_chaos_measure"
    }
    assert measures == {("1", "false"): 1.5, ("2", "true"): 30.0}
    assert {r[2] for r in rows if r[0] == "swarm_chaos_measure_limit"} == {20.0}
    good = [(r[1]["verdict"], r[2]) for r in rows if r[0] == "swarm_chaos_trial_as_expected"]
    assert good[:2] == [("pass", 1.0), ("fail", 0.0)]
    assert good[2][0] == "unknown"
    assert math.isnan(good[2][1])
    assert all(" 1793491200" in line for line in openmetrics([run]).splitlines() if "{" in line)


@given_(st.text())
def test_any_words_are_escaped(tmp_path_factory: pytest.TempPathFactory, words: str) -> None:
    writer = RunWriter.create(tmp_path_factory.mktemp("om"), command=[], harness="1")
    store_trial(writer, given(topology=words.encode(errors="replace").decode()), {"x": 1.0})
    text = openmetrics([read_run(writer.folder)])
    assert {row[1]["measure"] for row in parsed(text) if row[0] == "swarm_chaos_measure"} == {"x"}
    text.encode()


def test_no_trials_are_an_empty_exposition() -> None:
    assert list(parsed(openmetrics([]))) == []


@pytest.mark.parametrize(
    ("values", "settings", "badge"),
    [
        ([1.0, 2.0], {"limit": 5.0}, Badge("2 as expected", "brightgreen")),
        ([1.0, 9.0], {"limit": 5.0}, Badge("1 of 2 not as expected", "red")),
        ([1.0, None], {"limit": 5.0}, Badge("1 of 2 unknown", "orange")),
        ([], {}, Badge("no trials", "lightgrey")),
    ],
)
def test_a_badge_says_the_worst(
    tmp_path: Path, values: Sequence[float | None], settings: Any, badge: Badge
) -> None:
    assert badge_of(store_run(tmp_path, values, **settings)) == badge


def test_a_damaged_run_is_never_green(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0])
    (run.folder / "trials" / "torn").mkdir()
    assert badge_of(read_run(run.folder)).colour == "orange"


def test_a_badge_is_a_picture_with_words_and_what_shields_asks_for() -> None:
    badge = Badge("1 of 2 <not> as expected", "red")
    root = ET.fromstring(badge.as_svg())
    assert root.get("aria-label") == "swarm chaos: 1 of 2 <not> as expected"
    assert not_none(root.find("{http://www.w3.org/2000/svg}title")).text == root.get("aria-label")
    assert "http" not in badge.as_svg().replace("http://www.w3.org/2000/svg", "")
    assert badge.as_json() == {
        "schemaVersion": 1,
        "label": "swarm chaos",
        "message": "1 of 2 <not> as expected",
        "color": "red",
        "isError": True,
    }
