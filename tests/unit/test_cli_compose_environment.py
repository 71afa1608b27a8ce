"""What a compose file takes from its environment, as Docker's command line fills it in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.compose_environment import environment_of, filled_in
from harness.cli.compose_question import heeded
from harness.errors import UsageError

yaml = pytest.importorskip("yaml", reason="compose files are YAML: `make setup` installs PyYAML")

SET = {"TAG": "1.27", "EMPTY": "", "PRICE": "5$"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("web:$TAG", "web:1.27"),
        ("web:${TAG}-alpine", "web:1.27-alpine"),
        ("${OTHER:-a b}", "a b"),
        ("${OTHER-a}", "a"),
        ("${EMPTY:-a}", "a"),
        ("${EMPTY-a}", ""),
        ("${EMPTY}", ""),
        ("${TAG:?needed}", "1.27"),
        ("${TAG:+yes}${OTHER:+no}${EMPTY:+no}${EMPTY+empty}", "yesempty"),
        ("$$TAG costs $PRICE", "$$TAG costs 5$$"),
        ("no variable", "no variable"),
    ],
)
def test_variables_are_filled_in(written: str, meant: str) -> None:
    assert filled_in({"a": [written]}, SET, "f") == {"a": [meant]}


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("$OTHER", r"f: services\.web\.image: the variable OTHER is not set\n"),
        ("${OTHER}", "OTHER is not set"),
        ("${OTHER:?say which}", "OTHER is not set: say which"),
        ("${EMPTY:?}", "EMPTY is not set"),
        ("5$", "begins no variable"),
        ("$1", "begins no variable"),
        ("${TAG", "begins no variable"),
        ("${A:-${B}}", "begins no variable"),
    ],
)
def test_what_is_not_set_or_no_variable_is_refused_with_its_place(
    written: str, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        filled_in({"services": {"web": {"image": written}}}, SET, "f")


def test_numbers_and_truths_are_what_their_keys_want() -> None:
    document = {
        "deploy": {"replicas": "${N:-3}"},
        "networks": {"back": {"internal": "${I:-true}"}},
        "environment": {"N": "${N:-3}", "FLAG": "${F:-true}"},
        "image": "${V:-1}",
    }
    assert filled_in(document, {}, "f") == {
        "deploy": {"replicas": 3},
        "networks": {"back": {"internal": True}},
        "environment": {"N": "3", "FLAG": "true"},
        "image": "1",
    }


@given(st.text())
def test_a_text_whose_dollars_are_doubled_is_left_as_it_is(text: str) -> None:
    doubled = text.replace("$", "$$")
    assert filled_in([doubled], {}, "f") == [doubled]


@given(st.text())
def test_what_is_filled_in_is_no_variable_again(value: str) -> None:
    (once,) = filled_in(["${A}"], {"A": value}, "f")
    assert filled_in([once], {}, "f") == [once]
    assert once.replace("$$", "$") == value


def test_files_of_variables_come_before_what_is_written() -> None:
    files = {"a.env": b"# a comment\n\n  A=1\nB=2 # no comment\nC=$x\nFROM\n", "b.env": b"A=3"}
    made = environment_of(
        {"env_file": ["a.env", "b.env"], "environment": {"B": 4, "T": True, "OUT": None}},
        {"FROM": "outside", "HOME": "/root"},
        lambda name: files[name],
        "f",
    )
    assert made == {"A": "3", "B": "4", "C": "$$x", "FROM": "outside", "T": "true"}
    assert environment_of({"environment": ["X=a=b", "OUT"]}, {}, lambda _: b"", "f") == {"X": "a=b"}
    assert environment_of({"env_file": "a.env"}, {}, lambda name: files[name], "f")["A"] == "1"


def test_a_file_that_is_not_there_is_said_with_its_place() -> None:
    def missing(_name: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(UsageError, match=r"services\.a\.env_file: x\.env cannot be read: No such"):
        environment_of({"env_file": "x.env"}, {}, missing, "compose.yml: services.a")


def test_a_stack_is_recorded_with_all_that_it_took() -> None:
    text = """
services:
  web:
    image: web:${TAG}
    env_file: web.env
    environment: [PASSWORD]
    deploy: {replicas: "${N:-2}"}
"""
    found = heeded(text, Path("f"), lambda _: b"A=1", {"TAG": "7", "PASSWORD": "secret"})
    assert yaml.safe_load(found.text)["services"]["web"] == {
        "image": "web:7",
        "environment": {"A": "1", "PASSWORD": "secret"},
        "deploy": {"replicas": 2},
    }
    assert found.left_out == []
