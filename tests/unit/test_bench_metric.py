"""The one form in which benches print."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bench import Figure, median_of, show
from harness.bench.lab import pss_in
from harness.errors import UsageError


@pytest.mark.parametrize(
    ("values", "median"),
    [([3.0], 3.0), ([9.0, 1.0, 2.0], 2.0), ([1.0, 2.0], 1.5), ([1.23456789], 1.235)],
)
def test_a_figure_is_the_median(values, median):
    assert median_of("x", values, "s") == Figure("x", median, "s")


@given(st.lists(st.floats(1e-6, 1e6), min_size=1))
def test_a_median_lies_among_what_was_measured(values):
    value = median_of("x", values, "s").value
    assert min(values) * 0.999 <= value <= max(values) * 1.001


def test_nothing_measured_is_no_figure():
    with pytest.raises(UsageError, match="nothing was measured"):
        median_of("x", [], "s")


def test_json_is_a_list_of_name_value_unit(capsys):
    show([Figure("a", 1.5, "s"), Figure("b", 2.0, "MiB")], as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"name": "a", "value": 1.5, "unit": "s"},
        {"name": "b", "value": 2.0, "unit": "MiB"},
    ]


def test_people_get_a_line_each(capsys):
    show([Figure("a", 1.5, "s"), Figure("long.name", 2.0, "MiB")], as_json=False)
    assert capsys.readouterr().out == "a          1.5 s\nlong.name  2 MiB\n"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5598-7ffd [rollup]\nRss:    4000 kB\nPss:     100 kB\nPss_Anon:  60 kB\n", 102400),
        ("", 0),
        ("Pss_Anon:  60 kB\n", 0),
    ],
)
def test_pss_is_read_from_the_rollup(text, size):
    assert pss_in(text) == size
