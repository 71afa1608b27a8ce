"""``swarm-chaos init``: what it writes, and that it overwrites nothing."""

from __future__ import annotations

from pathlib import Path

import plain_yaml
import pytest

from harness.cli import main
from harness.cli.init import PACKAGES

REPOSITORY = Path(__file__).parents[2]
ONLY_FOR_A_CHECKOUT = {"cpio", "python3-venv"}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(project: Path) -> list[str]:
    return sorted(str(p.relative_to(project)) for p in project.rglob("*") if p.is_file())


def test_it_writes_a_scenario_settings_and_a_workflow(project: Path) -> None:
    assert main.call(["init"]) == 0
    assert written(project) == [
        ".github/workflows/chaos.yml",
        "chaos/pytest.ini",
        "chaos/test_leader_killed.py",
    ]
    workflow = (project / ".github/workflows/chaos.yml").read_text()
    steps = plain_yaml.load(workflow)["jobs"]["chaos"]["steps"]
    assert {"run": "swarm-chaos doctor"} in steps
    assert "swarm-chaos run chaos --controls" in workflow
    assert "PACKAGES" not in workflow
    assert "FOLDER" not in workflow


def test_it_overwrites_nothing_and_leaves_nothing_half_made(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "chaos").mkdir()
    (project / "chaos" / "pytest.ini").write_text("mine")
    assert main.call(["init"]) == 64
    assert written(project) == ["chaos/pytest.ini"]
    assert (project / "chaos" / "pytest.ini").read_text() == "mine"
    assert "nothing was written" in capsys.readouterr().err
    assert main.call(["init", "swarm/chaos", "--no-workflow"]) == 0
    assert "swarm/chaos/test_leader_killed.py" in written(project)


@pytest.mark.parametrize("folder", ["/somewhere", "../other"])
def test_a_folder_elsewhere_is_refused(project: Path, folder: str) -> None:
    assert main.call(["init", folder]) == 64
    assert written(project) == []


def test_the_workflow_installs_what_a_checkout_does() -> None:
    lines = (REPOSITORY / ".ci" / "apt-packages.txt").read_text().splitlines()
    wanted = {line.split()[0] for line in lines if line and not line.startswith("#")}
    assert set(PACKAGES) == wanted - ONLY_FOR_A_CHECKOUT
