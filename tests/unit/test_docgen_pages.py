"""Pages made from the code are what the code says, and the source is read as it is meant."""

import importlib.util
import subprocess
import sys

import pytest

from harness.docgen.source import measured_by

SCENARIO = '''
"""About."""
import helper
from helper import shared

LIMIT = 45.0
NAME = "failover"
LINES = {"a": 1}


def fixture_of_others(measure):
    def inner(case):
        kept = measure(f"{NAME} at <{case}> {LIMIT:g}", 1, unit="s")
        kept.below(LIMIT - 1, source=f"twice {LIMIT}")
        kept.equals(case.limit)

    return inner


def test_one(measure, fixture_of_others):
    measure(NAME, 1, unit="s", better="none")
    measure("rate", 2, unit="1").above(max(1, 2))
    if LIMIT:
        measure("rate", 2, unit="1").above(-0.5)
    put(measure)
    shared(measure)
    for place in LINES:
        slowest(measure, "write", within=LIMIT)
        slowest(measure, "read", within=place, source="known")


def slowest(measure, what, *, within, least=0.5, source="by default"):
    measure(f"slowest {what}", 1, unit="s").below(within - least, source=source)


def put(measure):
    measure("put", 3, unit="MiB").equals(3)
    other = [1]
    other.below = None
    put(measure)


def test_two(measure):
    measure("of another test", 1, unit="s")
'''

HELPER = """
AT_MOST = 7

def shared(measure):
    measure("shared", 1, unit="s").below(AT_MOST)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "test_it.py").write_text(SCENARIO)
    spec = importlib.util.spec_from_file_location("test_it_of_reference", tmp_path / "test_it.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("helper")


def test_measures_and_bounds_are_read_from_the_source(module, tmp_path):
    found = {m.name: (m.unit, m.bounds) for m in measured_by(module.test_one, tmp_path)}
    assert found == {
        "failover": ("s", []),
        "rate": ("1", [">= max(1, 2)", ">= -0.5"]),
        "put": ("MiB", ["= 3"]),
        "shared": ("s", ["<= 7"]),
        "slowest write": ("s", ["<= 44.5"]),
        "slowest read": ("s", ["<= within - least"]),
        "failover at <<case>> 45.0": ("s", ["<= 44", "= case.limit"]),
    }
    sources = {m.name: m.sources for m in measured_by(module.test_one, tmp_path) if m.sources}
    assert sources == {
        "failover at <<case>> 45.0": ["twice 45.0"],
        "slowest write": ["by default"],
        "slowest read": ["known"],
    }


def test_what_lies_elsewhere_is_left_out(module, tmp_path):
    names = [m.name for m in measured_by(module.test_one, tmp_path / "elsewhere")]
    assert "shared" not in names
    assert [m.name for m in measured_by(module.test_two, tmp_path)] == ["of another test"]


def test_the_pages_are_what_the_code_says():
    """Whoever changes a fault or a scenario runs `make reference` after it."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.docgen", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
