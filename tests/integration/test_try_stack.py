"""`swarm-chaos try` on the example's five services, its images taken from a real engine."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from optionals import not_none

from harness.engine import Engine
from harness.images import Cache
from harness.images.stack_images import EngineSource, FileSource, Reference, gathered
from harness.lab.client import docker_client
from harness.lab.own_engine import own_engine
from harness.results import latest_run, read_run

pytestmark = pytest.mark.integration

VOTING = Path(__file__).parents[2] / "examples" / "voting"


@pytest.fixture(scope="module")
def images(as_root: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of the example, as its own program builds them."""
    path = tmp_path_factory.mktemp("images") / "images.tar"
    subprocess.run([sys.executable, VOTING / "build.py", path], check=True)
    return path


def ids_in(archive: Path, wanted: list[Reference]) -> list[str | None]:
    with closing(FileSource(archive)) as source:
        return [source.find(each) for each in wanted]


def test_an_engines_images_come_through_its_socket_and_it_is_only_read(
    stable: Engine, images: Path, tmp_path: Path
) -> None:
    wanted = [Reference.parse(f"voting/{name}:1") for name in ("web", "queue")]
    ids = ids_in(images, wanted)
    with own_engine(stable) as socket:
        client = docker_client(socket, 120)
        with images.open("rb") as tar:
            client.images.load(tar)
        before = sorted(str(image.id) for image in client.images.list(all=True))
        archive = gathered(wanted, [EngineSource(socket)], Cache(tmp_path / "cache"))
        assert sorted(str(image.id) for image in client.images.list(all=True)) == before
        client.close()
    assert ids_in(archive, wanted) == ids


def test_the_voting_application_is_tried(images: Path, tmp_path: Path) -> None:
    """Left alone no vote is lost; what its leader's daemon costs it is judged as the file says.

    How much that is depends on what the leader runs and on how soon there is another one.
    """
    compose = tmp_path / "compose.yml"
    text = (VOTING / "compose.yml").read_text()
    compose.write_text(text.replace("  back: 90\n", "  back: 90\n  held: 5\n"))
    command = ["try", "compose.yml", "--name=voting", f"--images={images}", "--lab=namespaces"]
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *command, "-k", "nothing or leader-dockerd"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    answer = (tmp_path / "try-voting" / "README.md").read_text()
    assert "**log-collector-gone** is not applicable" in answer
    run = read_run(latest_run(tmp_path / "try-voting" / "reports"))
    alone, killed = (
        {each.name: each.value for each in trial.record.measures}
        for trial in sorted(run.trials, key=lambda trial: "leader" in trial.record.id)
    )
    assert alone["requests lost at the other nodes"] == 0
    assert "time with tasks missing" in alone
    assert alone.keys() == killed.keys()
    lost, back = (
        killed["requests lost at the other nodes"],
        killed["time until every task runs again"],
    )
    borne = not_none(lost) <= 0.05 and not_none(back) < 90
    assert done.returncode == (0 if borne else 1), done.stdout + done.stderr
    assert f"{2 if borne else 1} of 2 experiments went as expected" in answer
