"""``swarm-chaos init``: a first scenario in a project of one's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from harness.errors import UsageError
from harness.files import write_atomically

#: Debian's and Ubuntu's packages that the microVM lab needs on a machine for CI.
PACKAGES = (
    *("debian-archive-keyring", "e2fsprogs", "fakeroot", "iproute2", "iptables", "kmod"),
    *(
        "mmdebstrap",
        "mount",
        "nftables",
        "openssh-client",
        "openssl",
        "procps",
        "uidmap",
        "util-linux",
    ),
)


@click.command()
@click.argument("folder", default="chaos", type=click.Path(path_type=Path, file_okay=False))
@click.option("--no-workflow", is_flag=True, help="Write no GitHub workflow.")
def init(folder: Path, no_workflow: bool) -> None:
    """Write a first scenario with its control into FOLDER (chaos), and a nightly workflow.

    Nothing is overwritten: if one of the files exists already, none is written.
    """
    files = starter(folder, workflow=not no_workflow)
    if there := [path for path in files if path.exists()]:
        raise UsageError(
            f"{', '.join(map(str, there))}: exists already, nothing was written",
            hint="move it away, or give another folder: swarm-chaos init OTHER",
        )
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
        click.echo(f"wrote {path}")
    click.echo(f"now: swarm-chaos run {folder} --controls")


def starter(folder: Path, *, workflow: bool) -> dict[Path, str]:
    """Return the files to write, by path; the workflow's is where GitHub looks for it."""
    if folder.is_absolute() or ".." in folder.parts:
        raise UsageError(
            f"{folder} is not inside this folder",
            hint="change to the project's folder and give a name in it",
        )
    source = resources.files("harness.cli") / "starter"
    texts = {each.name: each.read_text() for each in source.iterdir()}
    files = {
        folder / "pytest.ini": texts["pytest.ini"],
        folder / "test_leader_killed.py": texts["test_leader_killed.py.txt"],
    }
    if workflow:
        text = texts["workflow.yml"]
        text = text.replace("PACKAGES", " ".join(PACKAGES)).replace("FOLDER", str(folder))
        files[Path(".github", "workflows", "chaos.yml")] = text
    return files
