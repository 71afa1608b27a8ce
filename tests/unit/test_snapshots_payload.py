"""The harness as a trial brings it: one archive, and which of its rooms stay in memory."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import harness
from harness.guest import agent
from harness.guest.contract import ARCHIVE, FREEZE_VARIABLE, FROZEN_WITH
from harness.snapshots.payload import archived
from harness.snapshots.source_bundle import trial_sources

ROOT = Path(harness.__file__).parent.parent

FILES = {
    "harness/__init__.py": b"",
    "harness/room/__init__.py": b"A = 1\n",
    "harness/room/part.py": b"B = 2\n",
    "harness/room/__pycache__/part.cpython-313.pyc": b"code",
    "harness/room/scripts/up.sh": b"true\n",
    "scenarios/test_a.py": b"",
    "scenarios/__pycache__/helper.cpython-313.pyc": b"code",
}


def inside(files: Mapping[str, bytes]) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(files[ARCHIVE])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_harness_is_in_the_archive_and_all_else_beside_it() -> None:
    made = archived(FILES)
    assert set(made) == {
        ARCHIVE,
        "scenarios/test_a.py",
        "scenarios/__pycache__/helper.cpython-313.pyc",
    }
    assert set(inside(made)) == {
        "harness/__init__.py",
        "harness/room/__init__.py",
        "harness/room/part.py",
        "harness/room/part.pyc",
        "harness/room/scripts/up.sh",
    }


def test_the_same_files_give_the_same_archive_in_whatever_order() -> None:
    assert archived(FILES) == archived(dict(reversed(FILES.items())))


def test_nothing_is_compressed_for_zlibs_differ() -> None:
    with zipfile.ZipFile(io.BytesIO(archived(FILES)[ARCHIVE])) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_what_a_trial_runs_is_imported_from_the_archive(tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).write_bytes(archived(trial_sources(ROOT, []))[ARCHIVE])
    rooms = ("pytest_plugin", "pytest_plugin.fixtures", "load.locustfile")
    hosts = {"harness.pytest_plugin.guest_runner", "harness.results", "harness.vm.thaw"}
    code = "import sys\n" + "\n".join(f"import harness.{room}" for room in rooms)
    code += f"\nprint(*{hosts!r} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{code}\nprint(harness.__file__)"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / ARCHIVE)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    imported, where = done.stdout.splitlines() or [done.stderr, ""]
    assert imported == "", "that is the host's, and a guest would take time to import it"
    assert where == str(tmp_path / ARCHIVE / "harness" / "__init__.py")


# -- what the agent keeps --------------------------------------------------------------------------


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A payload, and the modules and paths of an agent that has frozen a swarm."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FREEZE_VARIABLE, json.dumps({"sources": "these"}))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:/elsewhere")
    mine = {name: sys.modules[name] for name in sys.modules if name.partition(".")[0] == "harness"}
    yield tmp_path / "payload"
    for name in [name for name in sys.modules if name.partition(".")[0] == "harness"]:
        del sys.modules[name]
    sys.modules.update(mine)


def payload_at(folder: Path, *, frozen_with: str | None) -> Path:
    """A harness whose commands say where they came from and what they find beside them."""
    commands = (
        b"import harness.guest.more\n"
        b"def do(inputs, out):\n    inputs['from'] = __file__\n    return 3\n"
    )
    files = {
        **{f"harness/{name}/__init__.py": b"" for name in ("lab", "probes", "guest")},
        "harness/__init__.py": b"",
        "harness/guest/commands.py": commands,
        "harness/guest/more.py": b"import harness.lab.extra\n",
        "harness/lab/extra.py": b"",
    }
    folder.mkdir()
    (folder / ARCHIVE).write_bytes(archived(files)[ARCHIVE])
    if frozen_with is not None:
        (folder / FROZEN_WITH).write_text(frozen_with)
    return folder


def frozen_modules() -> dict[str, types.ModuleType]:
    """Stand-ins for all that the agent has imported of the harness."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "harness"]:
        del sys.modules[name]
    modules = {}
    for name in ("harness", "harness.guest", "harness.lab", "harness.lab.node", "harness.wait"):
        modules[name] = types.ModuleType(name)
        if name not in ("harness.lab.node", "harness.wait"):
            modules[name].__path__ = ["/var/lib/microvm/code"]
    sys.modules.update(modules)
    return modules


def test_modules_that_were_frozen_stay_if_the_trial_brings_the_same(guest: Path) -> None:
    frozen = frozen_modules()
    inputs: dict[str, str] = {}
    assert agent.run(payload_at(guest, frozen_with="these"), inputs, guest) == 3
    assert inputs["from"] == str(guest / ARCHIVE / "harness/guest/commands.py")
    assert [name for name, module in frozen.items() if sys.modules.get(name) is not module] == []
    assert "harness.lab.extra" in sys.modules, "the rest of a room comes from the archive"
    assert sys.modules["harness"].__file__ == str(guest / ARCHIVE / "harness/__init__.py")
    assert os.environ["PYTHONPATH"] == f"{guest / ARCHIVE}:{guest}:/elsewhere"


@pytest.mark.parametrize("note", ["others", None])
def test_none_stays_if_the_trial_brings_others(guest: Path, note: str | None) -> None:
    frozen = frozen_modules()
    inputs: dict[str, str] = {}
    assert agent.run(payload_at(guest, frozen_with=note), inputs, guest) == 3
    assert inputs["from"] == str(guest / "harness/guest/commands.py")
    assert not [name for name, module in frozen.items() if sys.modules.get(name) is module]
    assert os.environ["PYTHONPATH"] == f"{guest}:/elsewhere"
