"""How scenarios are written: short, in the words of a bug report, with their expectations as data.

Read from the source, so that nothing has to run.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from harness.pytest_plugin.expectations import stated_in
from harness.trial import Expectation

FOLDER = Path(__file__).parents[2] / "scenarios"
FILES = sorted(FOLDER.glob("test_*.py"))

#: What belongs to harness/probes, harness/load and harness/services.
NOT_IMPORTED = {"http", "socket", "urllib", "requests", "subprocess", "ctypes"}

MOST_FIXTURES = 6
LINES_OF_THE_FIRST_CASE = 15

Function = ast.FunctionDef | ast.AsyncFunctionDef

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def tree_of(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text())


def functions(tree: ast.AST) -> Iterator[Function]:
    """All functions of a file, nested ones included."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def is_fixture(function: Function) -> bool:
    """Whether a function is marked with ``pytest.fixture``."""
    return any("pytest.fixture" in ast.unparse(each) for each in function.decorator_list)


def arguments(function: Function) -> list[str]:
    """Return the names of a function's parameters."""
    given = function.args
    return [each.arg for each in [*given.posonlyargs, *given.args, *given.kwonlyargs]]


def parameters(function: Function) -> set[str]:
    """Return the names that ``parametrize`` gives to a test: they are no fixtures."""
    found: set[str] = set()
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and "parametrize" in ast.unparse(mark.func):
            names = ast.literal_eval(mark.args[0])
            found |= set(names.replace(" ", "").split(",") if isinstance(names, str) else names)
    return found


def imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a scenario's file as a module, for the length of a test."""
    spec = importlib.util.spec_from_file_location(f"style_of_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@every_file
def test_a_signature_has_at_most_six_fixtures(path: Path) -> None:
    crowded = {
        function.name: fixtures
        for function in functions(tree_of(path))
        if function.name.startswith("test_") or is_fixture(function)
        if len(fixtures := set(arguments(function)) - parameters(function)) > MOST_FIXTURES
    }
    assert not crowded, "the fixture `probes` has the probes as attributes"


@every_file
def test_only_scenarios_measure(path: Path) -> None:
    others = [
        function.name
        for function in functions(tree_of(path))
        if "measure" in arguments(function) and not function.name.startswith("test_")
    ]
    assert not others, "have it return values, and measure them in the scenario's body"


@every_file
def test_no_scenario_speaks_a_protocol(path: Path) -> None:
    names = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    assert not names & NOT_IMPORTED


@every_file
def test_no_scenario_sleeps(path: Path) -> None:
    slept = [
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        if ast.unparse(node.func) in ("time.sleep", "sleep")
    ]
    assert not slept, "wait for a state, hold the fault, or have the swarm observed"


@every_file
def test_every_expectation_has_a_control_or_says_why_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = imported(path, monkeypatch)
    stated = [each for each in stated_in(module) if isinstance(each, Expectation)]
    assert stated, "a scenario without an expectation shows nothing"
    assert not [each.name for each in stated if not each.controls and not each.no_control]
    assert not [each.name for each in stated if not each.source]


def test_the_first_case_of_the_manager_failover_fits_on_a_screen() -> None:
    tree = tree_of(FOLDER / "test_manager_failover.py")
    first = next(each for each in functions(tree) if each.name.startswith("test_"))
    assert first.end_lineno is not None
    assert first.end_lineno - first.lineno + 1 <= LINES_OF_THE_FIRST_CASE
