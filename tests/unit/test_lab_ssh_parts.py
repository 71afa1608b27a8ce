"""The parts of the ssh lab that need no machine: tunnels, the warden, ssh's words, processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import FaultError, LabError, MissingError
from harness.faults.network.fabric import Fabric
from harness.lab import Topology
from harness.lab.nsenter import Completed
from harness.lab.ssh import connection, lab, machine, node
from harness.lab.ssh.inventory import Inventory, MachineSpec
from harness.lab.ssh.runner import Ended, Runner

ONBOARD = Path(machine.__file__).with_name("onboard")
WARDEN = (ONBOARD / "warden.py").read_text()

#: Instead of a janitor: says as much, and writes down that it was told to end.
JANITOR = """
import sys
print("ready 1", flush=True)
sys.stdin.read()
open(sys.argv[1], "w").write("ended")
"""


@pytest.mark.parametrize("script", sorted(ONBOARD.glob("*.sh")), ids=lambda path: path.name)
def test_what_runs_on_a_machine_is_a_shell_script(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True)


# -- tunnels ---------------------------------------------------------------------------------


@given(st.integers(1, 20))
def test_each_pair_has_a_tunnel_of_its_own_with_two_ends(nodes: int) -> None:
    names = [f"m{number + 1}" for number in range(nodes)]
    addresses = [f"127.1.0.{number + 1}" for number in range(nodes)]
    inventory = Inventory((), Path("/x"), 14789)
    found = lab.tunnels_between(names, addresses, inventory)
    ends: dict[int, list[tuple[str, str]]] = {}
    for tunnels in found:
        assert len(tunnels) == nodes
        assert len({tunnel.name for tunnel in tunnels}) == nodes
        for tunnel in tunnels:
            ends.setdefault(tunnel.number, []).append((tunnel.local, tunnel.remote))
    for one, other in ends.values():
        assert one == other[::-1]
    assert max(ends) < 1 << 24


@given(st.integers(1, 30))
def test_the_smaller_swarm_that_is_offered_fits(machines: int) -> None:
    offered = Topology.parse(lab.smaller(machines))
    assert len(list(offered.places())) == machines
    assert not offered.warnings()


# -- the warden ------------------------------------------------------------------------------


@pytest.fixture
def warden(tmp_path: Path) -> Any:
    """Start a warden of this silence, without namespaces; it keeps to ``tmp_path / "said"``."""
    stand_in = tmp_path / "unshare"
    stand_in.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')
    stand_in.chmod(0o755)

    def start(silence: str) -> subprocess.Popen[bytes]:
        source = WARDEN.replace("SILENCE = 30.0", f"SILENCE = {silence}")
        return subprocess.Popen(
            [*(sys.executable, "-I", "-S", "-c", source), JANITOR, str(tmp_path / "said"), "id"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        )

    return start


@pytest.mark.parametrize(("silence", "hang_up"), [("60", True), ("0.3", False)])
def test_the_warden_ends_the_lab_when_nobody_is_at_the_other_end(
    warden: Any, silence: str, hang_up: bool, tmp_path: Path
) -> None:
    process = warden(silence)
    lines = {process.stdout.readline().split()[0] for _ in range(2)}
    assert lines == {b"janitor", b"ready"}
    if hang_up:
        assert not (tmp_path / "said").exists()
        process.stdin.close()
    assert process.wait(20) == 0
    assert (tmp_path / "said").read_text() == "ended"
    process.stdin.close()
    process.stdout.close()


# -- ssh's words -----------------------------------------------------------------------------

WORDS = [
    ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "not"),
    ("No ED25519 host key is known for x\nHost key verification failed.", "its host key is not"),
    ("root@x: Permission denied (publickey).", "it refuses the key"),
    ("ssh: Could not resolve hostname x: Name or service not known", "nobody knows this name"),
    ("ssh: connect to host x port 22: Connection refused", "cannot be reached"),
    ("", "cannot be reached: no answer"),
]


@pytest.mark.parametrize(("complaint", "meaning"), WORDS, ids=[words for _, words in WORDS])
def test_what_ssh_complains_of_is_a_sentence(complaint: str, meaning: str) -> None:
    refused = connection.refusal(MachineSpec("rack1", "x", port=22), complaint)
    assert refused.what.startswith("machine rack1 (x port 22)")
    assert meaning in refused.what


# -- the runner ------------------------------------------------------------------------------


@pytest.fixture
def runner() -> Iterator[Runner]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", (ONBOARD / "runner.py").read_text()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    made = Runner(process, "rack1")
    yield made
    made.close()


def test_programs_are_run_there_many_at_once(runner: Runner) -> None:
    script = ["sh", "-c", 'cat; echo "$0" >&2; exit 3', "words"]
    assert runner.run(script, b"\x00in", 10) == Ended(3, b"\x00in", b"words\n")
    assert runner.run(["sh", "-c", "kill -9 $$"], None, 10).code == 137
    assert runner.run(["/no/such"], None, 10).code == 127
    assert runner.run(["sleep", "60"], None, 0.1).code is None
    with ThreadPoolExecutor(8) as pool:
        echoes = [pool.submit(runner.run, ["echo", str(n)], None, 10.0) for n in range(40)]
    assert [int(echo.result().stdout) for echo in echoes] == list(range(40))


def test_a_connection_that_is_lost_is_said_at_once(runner: Runner) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(runner.run, ["sh", "-c", "kill -9 $PPID; sleep 9"], None, 60.0)
        with pytest.raises(LabError, match="the connection to machine rack1 is lost"):
            waiting.result(5)
    with pytest.raises(LabError, match="the connection to machine rack1 is lost"):
        runner.run(["true"], None, 1.0)


def test_the_group_of_a_user_is_kept_when_it_becomes_root_again() -> None:
    """A machine made for a run has its clock set, as root, before it is checked, as root."""

    class Asked(connection.Connection):
        def __init__(self) -> None:
            self._sudo, self.group = (), 0

        def run(self, argv: Sequence[str], **_: object) -> Completed:
            number = b"0" if self._sudo else b"1000"
            return Completed(tuple(argv), 0, number, b"")

    asked = Asked()
    asked.become_root()
    asked.become_root()
    assert asked.group == 1000
    assert asked.run(["id", "-u"]).text == "0"


# -- what a machine has ----------------------------------------------------------------------


class Checked:
    """A connection to this machine, as whoever runs the tests."""

    name = "rack1"
    spec = MachineSpec("rack1", "127.0.0.1", fabric_address="127.0.0.1")

    def become_root(self) -> None:
        pass

    def run(self, argv: list[str], **_: Any) -> Completed:
        done = subprocess.run(argv, capture_output=True, check=True)
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)

    def popen(self, argv: list[str], **popen: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, **popen)


class Copying(Checked):
    """A connection that a copy can be sent over."""

    def command(self, argv: list[str]) -> list[str]:
        return argv

    def run(self, argv: list[str], *, check: bool = True, **_: Any) -> Completed:
        done = subprocess.run(argv, capture_output=True, check=check)
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)


def tar_that_says(line: str, code: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``tar -c`` say and end with this, when it has packed all."""
    real = shutil.which("tar")
    tar = folder / "bin" / "tar"
    tar.parent.mkdir()
    tar.write_text(
        f'#!/bin/sh\n{real} "$@" || exit\n[ "$1" != -c ] || {{ echo "{line}" >&2; exit {code}; }}\n'
    )
    tar.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tar.parent}:{os.environ['PATH']}")


def seed_in(folder: Path) -> Path:
    seed = folder / "abcd" / "seed"
    (seed / "layers").mkdir(parents=True)
    (seed / "layers" / "file").write_text("of a layer")
    (folder / "there" / "seeds").mkdir(parents=True)
    return seed


def machine_in(folder: Path) -> machine.Machine:
    here: Any = Copying()
    one = machine.Machine(here, Inventory((), folder, 14789))
    one.folder = folder / "there"
    return one


def test_a_seed_is_copied_while_other_labs_link_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = seed_in(tmp_path)
    tar_that_says("tar: ./layers/file: file changed as we read it", 1, tmp_path, monkeypatch)
    there = machine_in(tmp_path).seed_at(seed)
    assert (there / "layers" / "file").read_text() == "of a layer"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("tar: ./layers/file: File shrank by 10 bytes; padding with zeros", 1),
        ("tar: ./layers/file: Cannot open: Permission denied", 2),
    ],
)
def test_of_a_copy_that_is_not_the_whole_nothing_is_left(
    line: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = seed_in(tmp_path)
    tar_that_says(line, code, tmp_path, monkeypatch)
    with pytest.raises(LabError, match=f"cannot copy seed to machine rack1: {line}"):
        machine_in(tmp_path).seed_at(seed)
    assert list((tmp_path / "there" / "seeds").iterdir()) == []


@pytest.mark.parametrize("allowed", [True, False])
def test_a_new_machines_clock_is_set_by_this_ones(
    allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    date, told = tmp_path / "date", tmp_path / "told"
    date.write_text(f'#!/bin/sh\necho "$*" >{told}\nexit {0 if allowed else 1}\n')
    date.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    here: Any = Checked()
    one = machine.Machine(here, Inventory((), tmp_path, 14789))
    before = time.time()
    if allowed:
        one.set_clock()
    else:
        with pytest.raises(LabError, match="the clock of machine rack1 cannot be set"):
            one.set_clock()
    utc, _, given = told.read_text().partition(" --set=@")
    assert utc == "--utc"
    assert before - 0.001 <= float(given) <= time.time()  # written in milliseconds


def test_a_python_without_its_library_is_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Debian's python3-minimal: it runs, and has neither json nor ctypes."""
    (tmp_path / "marker").touch()
    monkeypatch.setattr(machine, "MARKER", str(tmp_path / "marker"))
    minimal = tmp_path / "python3"
    minimal.write_text(
        "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'json'\" >&2\nexit 1\n"
    )
    minimal.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    here: Any = Checked()
    inventory = Inventory((), tmp_path, 14789)
    with pytest.raises(MissingError, match="standard library of python3") as refused:
        machine.Machine(here, inventory).check()
    assert refused.value.hint is not None
    assert "python3" in refused.value.hint.split()


# -- processes -------------------------------------------------------------------------------


class Here:
    """A connection to this machine."""

    def run(self, argv: list[str], *, check: bool = True, timeout: float = 60.0) -> Completed:
        done = subprocess.run(argv, capture_output=True, timeout=timeout, check=False)
        completed = Completed(tuple(argv), done.returncode, done.stdout, done.stderr)
        return completed.check("here") if check else completed


def test_a_process_is_found_signalled_and_seen_to_end() -> None:
    here: Any = Here()
    child = subprocess.Popen(["sleep", "60"])
    process = node.RemoteProcess.at(here, child.pid, "a sleeper")
    assert process.alive
    later = node.RemoteProcess(here, child.pid, "1", "one with the same pid")
    assert not later.alive
    later.signal(9)
    assert process.alive
    with pytest.raises(LabError, match=r"has not ended within 0\.1 s"):
        process.wait_gone(0.1)
    process.signal(9)
    process.wait_gone(5)
    assert [process.alive] == [False]  # it is a zombie
    child.wait()
    with pytest.raises(LabError, match="is gone"):
        node.RemoteProcess.at(here, child.pid, "a sleeper")


# -- the fabric ------------------------------------------------------------------------------


class Part:
    """A bridge that answers as it is told, and remembers what it was asked."""

    def __init__(self, *passing: str, code: int = 0, stdout: bytes = b"") -> None:
        self.passing = passing
        self.asked: list[tuple[str, str]] = []
        self._code, self._stdout = code, stdout

    def run_on_fabric(
        self, argv: Any, *, stdin: bytes | None = None, timeout: float = 0.0
    ) -> Completed:
        self.asked.append((" ".join(argv), (stdin or b"").decode()))
        return Completed(tuple(argv), self._code, self._stdout, b"")


def fabric(*parts: Part) -> Fabric:
    a_lab: Any = type("ALab", (), {"fabric": parts})
    return Fabric(a_lab)


MAKES = "create table bridge swarm_chaos_1\n"


def test_a_bridge_lets_pass_what_another_decides_on() -> None:
    whole, part = Part(), Part('meta iifkind "vxlan"')
    fabric(whole, part).nft(MAKES)
    assert whole.asked == [("nft -f -", MAKES)]
    passes = 'insert rule bridge swarm_chaos_1 forward meta iifkind "vxlan" accept\n'
    assert part.asked == [("nft -f -", MAKES + passes)]
    fabric(part).nft("delete table bridge swarm_chaos_1\n")
    assert part.asked[-1] == ("nft -f -", "delete table bridge swarm_chaos_1\n")


def test_rules_that_one_bridge_refuses_are_left_on_none() -> None:
    takes, refuses = Part(), Part(code=1)
    assert not fabric(takes, refuses).accepts(MAKES)
    assert takes.asked[-1] == ("nft delete table bridge swarm_chaos_1", "")
    assert len(refuses.asked) == 1


def test_packets_are_counted_on_all_bridges() -> None:
    counted = b'{"nftables": [{"counter": {"name": "hit", "packets": 3}}]}'
    assert fabric(Part(stdout=counted), Part(stdout=counted)).counters("t") == {"hit": 6}


def test_queues_are_refused_where_the_fabric_spans_machines() -> None:
    with pytest.raises(FaultError, match="this one spans machines"):
        fabric(Part(), Part()).tc(["qdisc add dev m1 root netem"])
