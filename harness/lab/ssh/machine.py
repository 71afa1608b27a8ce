"""One machine of an ssh lab: whether it may be used, what is copied to it, its part of a lab."""

from __future__ import annotations

import contextlib
import io
import os
import select
import shlex
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.engine import Engine
from harness.errors import LabError, MissingError
from harness.lab.nsenter import Completed, entering
from harness.lab.ssh.connection import Connection
from harness.lab.ssh.inventory import Inventory
from harness.wait import Deadline

MARKER = "/etc/swarm-chaos-node"
"""Says that a machine may be used: its owner makes it, and the harness never does."""

#: The machine's port of the fabric that leads to this machine.
CONTROLLER = "controller"

#: Seconds that clocks may be apart: a dockerd's log is read by its own clock, against bounds of
#: whole seconds.
_MOST_APART = 0.5

#: The programs, and Debian's packages that have them.
PACKAGES = {
    "python3": "python3",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "flock": "util-linux",
    "mount": "mount",
    "pivot_root": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
    "tar": "tar",
}

#: Seconds for a copy of an engine's 340 MB: at 1 MB/s.
_COPIED_WITHIN = 600.0

#: With which tar ends when a file was changed while it was read, and what it says when this was
#: nothing but the file's ctime.
_CHANGED = 1
_LINKED = ": file changed as we read it"

_UP_WITHIN = 30.0

_COUNTERS = """
cat "$1/cpu.pressure" 2>/dev/null
echo --
cat "$1/cpu.stat" 2>/dev/null
echo --
cat /proc/stat
echo --
getconf CLK_TCK
"""

_ONBOARD = Path(__file__).with_name("onboard")
_JANITOR = Path(__file__).parent.with_name("janitor.py")
_NODE_UP = Path(__file__).parent.with_name("scripts") / "node-up.sh"


class Machine:
    """A machine that is reached, and may be used: :meth:`check` says so."""

    def __init__(self, connection: Connection, inventory: Inventory) -> None:
        self.connection = connection
        self.folder = inventory.folder
        self.mesh = False
        """Whether its kernel has what the routing mesh needs; known when it is prepared."""
        self.identity = ""
        """Its machine-id."""
        self.fabric_address = ""
        """Where the other machines reach it."""

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        return self.connection.name

    def script(
        self, name: str, *argv: str, stdin: bytes | None = None, timeout: float = 60.0
    ) -> Completed:
        """Run one of the harness's scripts there; :class:`LabError` if it fails."""
        text = (_ONBOARD / name).read_text()
        return self.connection.run(["sh", "-c", text, name, *argv], stdin=stdin, timeout=timeout)

    # -- a machine that was made for this run --------------------------------------------------

    def set_clock(self) -> None:
        """Set its clock by this machine's: one that has just booted has it from whole seconds."""
        self.connection.become_root()
        setter = self.connection.popen(
            # The time is read here when it listens: sshd and sudo may have taken a second.
            ["sh", "-c", 'echo ready; read -r now; date --utc --set="@$now" >/dev/null'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with setter:
            assert setter.stdin is not None
            assert setter.stdout is not None
            setter.stdout.readline()
            with contextlib.suppress(BrokenPipeError):
                setter.stdin.write(f"{time.time():.3f}\n".encode())
                setter.stdin.close()
        if setter.returncode != 0:
            raise LabError(f"the clock of machine {self.name} cannot be set")

    # -- before anything is made ---------------------------------------------------------------

    def check(self) -> None:
        """Raise a :class:`~harness.errors.HarnessError` unless it may be used, and can.

        Nothing is changed there.
        """
        self.fabric_address = self.connection.spec.fabric_address or self._reached_at()
        self.connection.become_root()
        began = time.time()
        said = self.script("check.sh", MARKER, str(self.folder), *PACKAGES).text.splitlines()
        ended = time.time()
        facts = [line.partition(" ")[::2] for line in said]
        known = dict(facts)
        if "marker" not in known:
            raise LabError(
                f"machine {self.name} does not say that it may be used: it has no {MARKER}",
                hint=f"if faults may be injected into it, run there: sudo touch {MARKER}",
            )
        if missing := [value for word, value in facts if word == "missing"]:
            packages = sorted({PACKAGES.get(what, "python3") for what in missing})
            raise MissingError(
                f"machine {self.name} has no {', '.join(missing)}",
                hint=f"run there: apt-get install {' '.join(packages)}",
            )
        if known["arch"] != os.uname().machine:
            raise LabError(
                f"machine {self.name} is {known['arch']}, and engines here are for "
                f"{os.uname().machine}"
            )
        if "busy" in known:
            raise LabError(
                f"machine {self.name} is in use by another run: {known['busy']} is held",
                hint="wait for its end, or list other machines",
            )
        # The answer was given at some time in between.
        clock = float(known["clock"])
        apart = max(began - clock, clock - ended, 0.0)
        if apart > _MOST_APART:
            raise LabError(
                f"the clock of machine {self.name} is {apart:.1f} s off this machine's",
                hint="have both follow one time server (chrony): logs are compared by their times",
            )
        self.identity = known["identity"]
        self.connection.keep_runner()

    def _reached_at(self) -> str:
        # sshd: the client's address and port, then its own
        words = self.connection.run(["sh", "-c", "echo $SSH_CONNECTION"]).text.split()
        if len(words) != 4 or ":" in words[2]:
            raise LabError(
                f"machine {self.name} was not reached at an IPv4 address",
                hint="write where the other machines reach it: fabric-address = ...",
            )
        return words[2]

    def prepare(self) -> None:
        """Make it ready for labs: folders, kernel modules; what dead labs left is removed."""
        self.mesh = "mesh yes" in self.script("prepare.sh", str(self.folder)).text

    # -- what stays on it from lab to lab ------------------------------------------------------

    def root_of(self, engine: Engine) -> Path:
        """Return where an engine's root file system lies there, copied if it must be."""
        return self._kept(self.folder / "engines" / engine.digest[:16], engine.rootfs)

    def seed_at(self, seed: Path) -> Path:
        """Return where a seed for ``/var/lib/docker`` lies there, copied if it must be."""
        return self._kept(self.folder / "seeds" / seed.parent.name, seed)

    def _kept(self, there: Path, here: Path) -> Path:
        if self.connection.run(["test", "-d", str(there)], check=False).code == 0:
            return there
        draft = f"{there}.part"
        unpack = (
            'rm -rf "$1" && mkdir "$1" && tar -x -C "$1" --xattrs --xattrs-include="*" &&'
            ' mv "$1" "$2"'
        )
        with tempfile.TemporaryFile() as words:
            pack = subprocess.Popen(
                ["tar", "-c", "-C", str(here), "--xattrs", "--xattrs-include=*", "."],
                stdout=subprocess.PIPE,
                stderr=words,
                env={**os.environ, "LC_ALL": "C"},
            )
            with pack:
                done = subprocess.run(
                    self.connection.command(["sh", "-c", unpack, "sh", draft, str(there)]),
                    stdin=pack.stdout,
                    capture_output=True,
                    timeout=_COPIED_WITHIN,
                    check=False,
                )
            words.seek(0)
            complaints = _packing_complaints(words.read().decode(errors="replace"))
        packed = pack.returncode == 0 or (pack.returncode == _CHANGED and not complaints)
        if done.returncode != 0 or not packed:
            self.connection.run(["rm", "-rf", draft, str(there)], check=False)
            said = "; ".join([*complaints, *done.stderr.decode(errors="replace").splitlines()])
            why = said or "the copy was cut off"
            raise LabError(f"cannot copy {here.name} to machine {self.name}: {why}")
        return there


def _packing_complaints(said: str) -> list[str]:
    """What tar said while it packed, but for files that a link was made to meanwhile.

    Labs of this machine link the layers of a seed into their nodes, which sets the files' ctime;
    what is in them never changes.
    """
    return [line for line in said.splitlines() if not line.endswith(_LINKED)]


class MachineLab:
    """What one machine has of a lab, from its janitor to its bridge.

    Its end, and that of the connection, and that of this process, all end it there.
    """

    def __init__(self, machine: Machine, lab_id: str) -> None:
        self.machine = machine
        self.lab_id = lab_id
        self.folder = machine.folder / "labs" / lab_id
        self.janitor, self.keeper = 0, 0
        source = (_ONBOARD / "warden.py").read_text()
        self._warden = machine.connection.popen(
            [
                *("python3", "-I", "-S", "-c", source, _JANITOR.read_text()),
                *(str(self.folder), lab_id),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._read_pids()
            self.connection.run(
                ["sh", "-c", 'mkdir "$1" && cat >"$1/node-up.sh"', "sh", f"{self.folder}/scripts"],
                stdin=_NODE_UP.read_bytes(),
            )
        except BaseException:
            self.close()
            raise

    @property
    def connection(self) -> Connection:
        """The connection to the machine."""
        return self.machine.connection

    @property
    def passing(self) -> tuple[str, ...]:
        """What other parts of the fabric decide on: what they sent, and what client hosts get."""
        return ('meta iifkind "vxlan"', f'oifname "{CONTROLLER}"')

    def run_on_fabric(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout: float = 60.0
    ) -> Completed:
        """Run a program in the network namespace of the machine's bridge."""
        return self.connection.run(
            entering(self.keeper, ("net",), argv), stdin=stdin, timeout=timeout, check=False
        )

    def cable(self, tunnels: Sequence[Tunnel]) -> None:
        """Make the bridge, and a tunnel to each other machine that is one of its ports."""
        self.connection.run(["sh", "-c", fabric_script(self.keeper, tunnels)])

    def boot(
        self, name: str, rootfs: Path, address: str, mac: str, layout: str, etc: Mapping[str, str]
    ) -> tuple[int, list[Path]]:
        """Switch a node on; return its init's pid and the groups that its processes are to join."""
        said = self.machine.script(
            "boot.sh",
            *(str(self.folder), self.lab_id, str(self.janitor), str(self.keeper)),
            *(name, str(rootfs), address, mac, layout),
            stdin=_tar_of(etc),
        ).text.splitlines()
        pairs = [line.partition(" ")[::2] for line in said]
        return int(dict(pairs)["pid"]), [Path(value) for word, value in pairs if word == "group"]

    def cpu_counters(self) -> dict[str, str]:
        """Return what its kernel counts of CPU time, as the files have it.

        ``pressure`` and ``usage`` of the lab's cgroup ("" where there is none), ``stat`` of the
        machine, and its ``ticks`` a second. Raises :class:`LabError` if it cannot be asked.
        """
        group = f"/proc/{self.janitor}/root{self.folder}/cgroup/v2/swarm-chaos/{self.lab_id}"
        said = self.connection.run(["sh", "-c", _COUNTERS, "sh", group], timeout=10.0).text
        names = ("pressure", "usage", "stat", "ticks")
        return dict(zip(names, said.split("--\n"), strict=True))

    def beat(self) -> None:
        """Tell the warden that somebody is here."""
        assert self._warden.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it is gone, which others notice
            self._warden.stdin.write(b"\n")
            self._warden.stdin.flush()

    def close(self) -> None:
        """End it; :class:`LabError` when something is left, or cannot be known to be gone."""
        assert self._warden.stdin is not None
        assert self._warden.stdout is not None
        assert self._warden.stderr is not None
        with contextlib.suppress(BrokenPipeError):
            self._warden.stdin.close()
        try:
            code = self._warden.wait(60)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            code = self._warden.wait()
        self._warden.stdout.close()
        self._warden.stderr.close()
        if code != 0:
            raise LabError(
                f"it is not known whether machine {self.machine.name} is as it was before the lab",
                hint="its warden ends a lab that it hears nothing of; look there for "
                f"{self.folder}",
            )

    def _read_pids(self) -> None:
        assert self._warden.stdout is not None
        assert self._warden.stderr is not None
        deadline, said, pids = Deadline(_UP_WITHIN), b"", dict[str, str]()
        while not {"janitor", "ready"} <= pids.keys():
            readable, _, _ = select.select([self._warden.stdout], [], [], deadline.remaining)
            if not readable or not (chunk := os.read(self._warden.stdout.fileno(), 4096)):
                why = pids.get("failed") or "it said nothing"
                raise LabError(f"the lab did not come up on machine {self.machine.name}: {why}")
            said += chunk
            whole = said[: said.rfind(b"\n") + 1].decode().splitlines()
            pids = dict(line.partition(" ")[::2] for line in whole)
        self.janitor, self.keeper = int(pids["janitor"]), int(pids["ready"])


class Tunnel:
    """A port of a bridge that leads to another machine: VXLAN between two addresses.

    Both ends have the same ``number``, and no other tunnel has.
    """

    def __init__(self, name: str, number: int, local: str, remote: str, port: int) -> None:
        self.name = name
        self.number = number
        self.local = local
        self.remote = remote
        self.port = port


def fabric_script(keeper: int, tunnels: Sequence[Tunnel]) -> str:
    """Return the script that makes a bridge in the keeper's network and plugs the tunnels in.

    A tunnel is made in the network of the machine, so that its packets leave by it, and is moved.
    Nothing is forwarded from tunnel to tunnel: the sender has one to every machine.
    """
    inside = ["ip link add fabric type bridge", "ip link set fabric up"]
    made = []
    for each in tunnels:
        made.append(
            f"ip link add {shlex.quote(each.name)} netns {keeper} type vxlan id {each.number} "
            f"local {each.local} remote {each.remote} dstport {each.port} ttl 64"
        )
        inside += [
            f"ip link set {shlex.quote(each.name)} master fabric up",
            f"ip link set {shlex.quote(each.name)} type bridge_slave isolated on",
        ]
    enter = f"nsenter --target={keeper} --net -- sh -e -c"
    return "\n".join(["set -e", *made, f"{enter} {shlex.quote(chr(10).join(inside))}"])


def _tar_of(files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()
