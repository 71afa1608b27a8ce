"""Machines to reach by ssh, on this one: an sshd each, in namespaces on a fabric of their own.

Their files are this machine's, but for ``/etc``, ``/run`` and a folder of their own. Nothing
listens outside the namespaces, and all of it ends with its janitor.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.engine import Engine
from harness.lab.client_host import LocalClientHost
from harness.lab.keeper import Keeper
from harness.lab.local_lab import end_lab, new_lab
from harness.lab.network import client_host_address
from harness.lab.nsenter import entering
from harness.wait import NotYet, wait_for

#: Ordinary users of each machine, let in by the same key: one whom sudo asks nothing, one whom it
#: asks for a password.
OPERATOR, VISITOR = "operator", "visitor"

#: Runs as process 1 of a machine: NAME FOLDER AUTHORIZED_KEY OPERATOR VISITOR
_UP = r"""
set -eu
name=$1 dir=$2 key=$3 operator=$4 visitor=$5
read -r pid _ </proc/self/stat # as the host counts: its /proc is not replaced yet
echo "$pid" >"$dir/pid"
hostname "$name"
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p "$dir/etc" "$dir/work" "$dir/files"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$dir/etc,workdir=$dir/work" /etc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/machine
mount --bind "$dir" /run/machine
cp "$key" /etc/ssh/authorized_keys
rm -f /etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
echo "$name" | md5sum | cut -c 1-32 >/etc/machine-id
touch /etc/swarm-chaos-node
id=47110
for user in "$operator" "$visitor"; do
    echo "$user:x:$id:$id::/run/$user:/bin/sh" >>/etc/passwd
    echo "$user:x:$id:" >>/etc/group
    echo "$user:*:20000::::::" >>/etc/shadow # no password fits; a ! would refuse keys, too
    mkdir "/run/$user"
    chown "$id:$id" "/run/$user"
    id=$((id + 1))
done
mkdir -p /etc/sudoers.d
echo "$operator ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/operator
echo "$visitor ALL=(ALL) ALL" >/etc/sudoers.d/visitor
exec /usr/sbin/sshd -D -e -o PermitRootLogin=prohibit-password -o UsePAM=no -o StrictModes=no \
    -o AuthorizedKeysFile=/etc/ssh/authorized_keys
"""


@dataclass(frozen=True)
class SshMachine:
    """A machine with an sshd."""

    name: str
    host: LocalClientHost
    folder: Path
    sshd: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """Its address on the fabric."""
        return self.host.address

    @property
    def files(self) -> Path:
        """Its folder for labs, which is on a file system that overlays can lie on."""
        return self.folder / "files"

    @property
    def etc(self) -> Path:
        """What is its own in ``/etc``."""
        return self.folder / "etc"

    def pid_namespace(self) -> Path:
        """Return its pid namespace, as its processes' links in ``/proc`` have it."""
        return Path(f"/proc/{(self.folder / 'pid').read_text().strip()}/ns/pid").readlink()

    def run(self, *argv: str) -> None:
        """Run a program on it, with its files."""
        pid = int((self.folder / "pid").read_text())
        subprocess.run(entering(pid, ("mount", "pid"), argv), check=True)

    def links(self) -> list[str]:
        """Return the names of the links in its network."""
        said = subprocess.run(
            entering(self.host.pid, ("net",), ["ip", "-o", "link"]),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return sorted(line.split(": ")[1].partition("@")[0] for line in said.splitlines())

    def processes(self) -> list[str]:
        """Return the command line of each of its processes but sshd's own."""
        init = self.pid_namespace()
        found = []
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdecimal() and (process / "ns/pid").readlink() == init:
                    found.append((process / "cmdline").read_text().replace("\0", " ").strip())
            except OSError:  # it ended just now
                continue
        # since OpenSSH 9.8 a connection is served by a program of its own
        own = ("sshd: ", "sshd-session: ", "sshd-auth: ")
        return sorted(line for line in found if line and not line.startswith(own))


@dataclass(frozen=True)
class SshMachines:
    """Several, and the place from which they are reached."""

    machines: Sequence[SshMachine]
    controller: LocalClientHost
    folder: Path
    keeper: Keeper

    @property
    def key(self) -> Path:
        """The key that they let in."""
        return self.folder / "key"

    def inventory(self, **more: str) -> Path:
        """Write the inventory that lists them, ``more`` in each; its path."""
        known = self.folder / "known_hosts"
        keys = [
            (m.address, (m.etc / "ssh/ssh_host_ed25519_key.pub").read_text()) for m in self.machines
        ]
        known.write_text("".join(f"{at} {text}" for at, text in keys))
        # The same path on each, where its own folder is mounted.
        lines = ['folder = "/run/machine/files"', f'key = "{self.key}"', f'known-hosts = "{known}"']
        for machine in self.machines:
            lines += ["[[machine]]", f'name = "{machine.name}"', f'address = "{machine.address}"']
            lines += [f'{key} = "{value}"' for key, value in more.items()]
        path = self.folder / "hosts.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def lend(self, engine: Engine) -> None:
        """Have an engine on each machine without copying it: they see this one's files."""
        for machine in self.machines:
            folder = machine.files / "engines"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / engine.digest[:16]).symlink_to(engine.rootfs)


@contextmanager
def ssh_machines(names: Sequence[str]) -> Iterator[SshMachines]:
    """Bring machines up; they are gone when the context ends, or this process."""
    janitor, keeper = new_lab()
    made: list[SshMachine] = []
    try:
        keeper.in_fabric(["ip", "link", "add", "fabric", "type", "bridge"])
        keeper.in_fabric(["ip", "link", "set", "fabric", "up"])
        scripts = Path(__file__).parents[2] / "harness" / "lab" / "scripts"
        keeper.scripts.mkdir()
        for script in scripts.iterdir():
            (keeper.scripts / script.name).write_bytes(script.read_bytes())
        folder = keeper.lab_dir
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True
        )
        made += [_machine(keeper, name, number) for number, name in enumerate(names)]
        controller = _host(keeper, "controller", len(names))
        for machine in made:
            wait_for(
                partial(listens, machine),
                state=f"sshd on {machine.name}",
                within=20,
                every=0.05,
            )
        yield SshMachines(made, controller, folder, keeper)
    finally:
        end_lab(janitor, keeper)
        for machine in made:
            machine.sshd.wait()


def listens(machine: SshMachine) -> bool | NotYet:
    """Return whether its sshd has its port."""
    if machine.sshd.poll() is not None:
        log = (machine.folder / "sshd.log").read_text()
        raise AssertionError(f"sshd on {machine.name} ended: {log}")
    # 0A: listening; port 22 is 0016
    bound = ":0016 00000000:0000 0A" in Path(f"/proc/{machine.host.pid}/net/tcp").read_text()
    return bound or NotYet("nobody listens")


def _host(keeper: Keeper, name: str, number: int) -> LocalClientHost:
    address = client_host_address(number)
    return LocalClientHost(name, address, keeper.bring_up_client_host(name, address, []), [])


def _machine(keeper: Keeper, name: str, number: int) -> SshMachine:
    host = _host(keeper, name, number)
    folder = keeper.lab_dir / "nodes" / name
    folder.mkdir()
    flags = ("--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child")
    with (folder / "sshd.log").open("wb") as log:
        # Below the keeper, with which all of it ends.
        sshd = subprocess.Popen(
            entering(
                host.pid,
                ("pid", "net"),
                [
                    *("unshare", *flags, "--propagation", "private", "--"),
                    *("sh", "-c", _UP, "sh", name, str(folder), f"{keeper.lab_dir}/key.pub"),
                    *(OPERATOR, VISITOR),
                ],
            ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return SshMachine(name, host, folder, sshd)
