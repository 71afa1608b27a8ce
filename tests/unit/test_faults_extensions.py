"""Faults and fixtures of other packages: found by entry points, brought to guests, or refused."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from extension_example import EXAMPLE, install_example
from optionals import not_none

from harness.cli import main
from harness.errors import UsageError
from harness.faults import Faults
from harness.faults.catalogue import facts_of, kind_of
from harness.faults.extensions import FAULTS, FIXTURES
from harness.guest.contract import ARCHIVE, PYTEST_ENVIRONMENT
from harness.lab import Topology
from harness.pytest_plugin.guest_runner import Assignment
from harness.pytest_plugin.markers import TrialPoint
from harness.pytest_plugin.trial_request import TrialRequest
from harness.snapshots.payload import archived
from harness.snapshots.source_bundle import trial_sources

REPOSITORY = Path(__file__).parents[2]

Install = Callable[..., Path]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, of this process and of those that it starts."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{REPOSITORY}")
    return folder


@pytest.fixture
def install(site: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A function that installs a module of a distribution, as pip leaves it."""

    def installed(source: str, *points: str, group: str = FAULTS, name: str = "made-up") -> Path:
        module = name.replace("-", "_")
        (site / f"{module}.py").write_text(source)
        about = site / f"{module}-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *points, ""]))
        monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()
        return site / f"{module}.py"

    return installed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of `examples/extension` and its sources, installed by pip."""
    return install_example(tmp_path_factory.mktemp("built"))


@pytest.fixture
def example(built: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's sources; it is installed."""
    shutil.copytree(built / "site", site, dirs_exist_ok=True)
    for name in [each for each in sys.modules if each.partition(".")[0] == "chaos_mtu"]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    return built / "extension"


def test_the_example_is_in_the_catalogue(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = facts_of(kind_of("link-mtu-lowered"))
    assert (facts["group"], facts["by_hand"]) == ("chaos_mtu", True)
    assert main.call(["faults", "--json"]) == 0
    listed = {fault["name"] for fault in json.loads(capsys.readouterr().out)}
    assert {"link-mtu-lowered", "node-killed"} <= listed
    with pytest.raises(UsageError) as near:
        kind_of("link-mtu-lowerd")
    assert "did you mean link-mtu-lowered" in not_none(near.value.hint)


def test_the_example_is_no_longer_than_it_says(example: Path) -> None:
    source = (EXAMPLE / "chaos_mtu" / "faults.py").read_text().splitlines()
    code = [line for line in source if line.strip() and not line.strip().startswith(('"""', "#"))]
    assert len(code) <= 36


def test_a_scenario_makes_it_by_its_name(example: Path) -> None:
    trial: Any = SimpleNamespace()
    node = SimpleNamespace(name="w1")
    fault: Any = Faults(trial).make("link-mtu-lowered", node, mtu=1300)
    assert (fault.mtu, fault.target_name) == (1300, "w1")
    with pytest.raises(UsageError, match="no parameter size"):
        Faults(trial).make("link-mtu-lowered", node, size=3)
    with pytest.raises(UsageError, match="not a valid count"):
        Faults(trial).make("link-mtu-lowered", node, mtu=3)


def collected(folder: Path, *args: str, path: str | None = None) -> str:
    paths = {"PYTHONPATH": path} if path else {}
    ran = subprocess.run(
        [sys.executable, "-P", *args],
        cwd=folder, env={**os.environ, **PYTEST_ENVIRONMENT, **paths},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_its_fixture_is_there_on_the_host(example: Path) -> None:
    out = collected(
        example,
        *("-m", "harness.cli", "run", "chaos", "--fixtures-per-test", "-q", "--lab=microvm"),
    )
    assert "sent_bytes -- " in out


def test_a_guest_gets_both_and_finds_them_as_the_host_does(
    example: Path, tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought = trial_sources(example, ["chaos"])
    assert {"chaos_mtu/faults.py", "chaos_mtu/fixtures.py"} <= brought.keys()
    assert "harness/faults/node_fault.py" in brought, "what the package needs of the harness"
    assert brought == trial_sources(example, ["chaos"])
    guest = tmp_path / "guest"
    for name, content in archived(brought).items():
        target = guest / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    libraries = Path(pytest.__file__).parents[1]
    path = f"{guest / ARCHIVE}:{guest}:{libraries}"
    kind = "from harness.faults.catalogue import kind_of; print(kind_of('link-mtu-lowered'))"
    shutil.rmtree(site)  # a guest has no package of the host's
    assert "chaos_mtu.faults.LinkMtuLowered" in collected(guest, "-S", "-c", kind, path=path)
    nodeid = "chaos/test_mtu.py::test_mtu_lowered[stable-s1]"
    out = collected(
        guest,
        *("-S", "-c", "import sys, harness.guest.commands, pytest; sys.exit(pytest.main())"),
        *(nodeid, "--fixtures-per-test", "-q", "-p", "no:cacheprovider"),
        *("-p", "harness.pytest_plugin", "-p", "chaos_mtu.fixtures", "--lab=namespaces"),
        f"--trial-into={guest / 'out'}",
        path=path,
    )
    assert "sent_bytes -- " in out


def test_a_guests_pytest_is_told_of_the_fixtures(example: Path) -> None:
    item: Any = SimpleNamespace(nodeid="t.py::t", get_closest_marker=lambda _: None)
    request = TrialRequest("t.py::t", TrialPoint("stable", 1), Topology(1))
    assert "chaos_mtu.fixtures" in Assignment(item, request, topology_given=False).args()


SILENT = """
from harness.faults.node_fault import NodeFault
class Half(NodeFault):
    name = "half"
"""
WHOLE = """
from harness.faults.kill import NodeKilled
class Other(NodeKilled):
    name = "{name}"
    summary = "It is another."
    proof = "none"
class Nameless(NodeKilled):
    name = ""
"""


@pytest.mark.parametrize(
    ("source", "entry", "said"),
    [
        ("import nowhere", "a = made_up:A", "ModuleNotFoundError: No module named 'nowhere'"),
        ("1 / 0", "a = made_up:A", "ZeroDivisionError"),
        ("A = 3", "a = made_up:A", "made_up:A is not a subclass of harness.faults.Fault"),
        ("", "a = made_up:A", "AttributeError"),
        (SILENT, "a = made_up:Half", "does not define apply, evidence"),
        (WHOLE.format(name="b"), "a = made_up:Other", "made_up:Other calls itself 'b'"),
        (WHOLE, "a = made_up:Nameless", "made_up:Nameless has no name"),
    ],
)
def test_a_broken_fault_is_a_sentence_that_names_the_distribution(
    install: Install, capsys: pytest.CaptureFixture[str], source: str, entry: str, said: str
) -> None:
    install(source, entry)
    with pytest.raises(UsageError) as caught:
        kind_of("a")
    assert "the fault 'a' of made-up 1.2 cannot be used: " in caught.value.what
    assert said in caught.value.what
    assert "pip uninstall made-up" in not_none(caught.value.hint)
    assert main.call(["faults"]) == 0
    out, err = capsys.readouterr()
    assert "node-killed" in out
    assert "! the fault 'a' of made-up 1.2" in err
    assert main.call(["faults", "a"]) == 64


def test_two_packages_with_one_name_are_refused_and_none_replaces_the_harness(
    install: Install,
) -> None:
    install(WHOLE.format(name="twice"), "twice = made_up:Other", "node-killed = made_up:Other")
    install(WHOLE.format(name="twice"), "twice = other_one:Other", name="other-one")
    with pytest.raises(UsageError, match=r"two faults 'twice', of made-up 1\.2 and other-one 1\.2"):
        kind_of("twice")
    assert kind_of("node-killed").__module__ == "harness.faults.kill"


@pytest.mark.parametrize(
    ("source", "entry", "said"),
    [
        ("import nowhere", "x = made_up", "No module named 'nowhere'"),
        ("A = 3", "x = made_up:A", "made_up:A is not a module"),
    ],
)
def test_broken_fixtures_end_a_run_with_a_sentence(
    install: Install, tmp_path: Path, source: str, entry: str, said: str
) -> None:
    install(source, entry, group=FIXTURES)
    (tmp_path / "test_x.py").write_text("def test_x(swarm): pass\n")
    ran = subprocess.run(
        [sys.executable, "-m", "harness.cli", "run", "test_x.py", "--co"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 64
    assert "the fixtures module 'x' of made-up 1.2 cannot be used: " in ran.stdout + ran.stderr
    assert said in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_package_that_is_gone_or_too_large_is_not_brought(
    install: Install, tmp_path: Path, site: Path
) -> None:
    module = install("", "a = made_up:A")
    module.unlink()
    importlib.invalidate_caches()
    with pytest.raises(UsageError, match=r"'made_up' of made-up 1\.2 is not there"):
        trial_sources(tmp_path, [])
    (site / "made_up").mkdir()
    (site / "made_up" / "__init__.py").write_bytes(b"#" * (17 << 20))
    importlib.invalidate_caches()
    with pytest.raises(UsageError, match="has 17 MiB, too much for a guest"):
        trial_sources(tmp_path, [])
