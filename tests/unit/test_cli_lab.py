"""``swarm-chaos lab``: the shell that `enter` opens, and what `up` warns of."""

from pathlib import Path

import pytest

from harness.cli.lab import shell_on, without_mesh
from harness.lab import KernelFeatures
from harness.lab.features import Tried


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    for name in ("bin/sh", "bin/bash", "usr/bin/script"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_shell_on_a_terminal_gets_a_terminal_of_the_nodes_own(rootfs: Path) -> None:
    shell = "/bin/bash --noprofile --norc -i"
    assert shell_on(rootfs, terminal=True) == [
        *("/usr/bin/script", "--quiet", "--command", shell, "/dev/null")
    ]


def test_a_shell_that_reads_a_pipe_needs_no_terminal(rootfs: Path) -> None:
    assert shell_on(rootfs, terminal=False) == ["/bin/bash", "--noprofile", "--norc", "-i"]


def test_a_node_without_bash_or_script_still_has_a_shell(rootfs: Path) -> None:
    (rootfs / "bin/bash").unlink()
    (rootfs / "usr/bin/script").unlink()
    assert shell_on(rootfs, terminal=True) == ["/bin/sh", "-i"]


@pytest.mark.parametrize(
    ("works", "said"),
    [
        (("ip_vs", "ip_forward"), ""),
        (("ip_forward",), "modprobe ip_vs"),
        (("ip_vs",), "net.ipv4.ip_forward=1"),
    ],
)
def test_up_says_when_published_ports_will_not_answer(works: tuple[str, ...], said: str) -> None:
    warning = without_mesh(KernelFeatures({name: Tried(True) for name in works}, "v2"))
    assert said in warning
    assert ("published ports will not answer" in warning) is bool(said)
