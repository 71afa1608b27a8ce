"""Machines that Vagrant makes for an ssh lab: brought up, listed in an inventory, destroyed.

Their state is in a folder of its own, so two runs do not share machines; their private networks
are apart by a number that the folder's name gives.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import weakref
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import LabError, MissingError
from harness.images import Say, silent
from harness.lab.local_lab import labs_folder
from harness.wait import NotYet, wait_for

_VAGRANTFILE = Path(__file__).with_name("Vagrantfile")

#: Seconds: an emulated machine boots in 4 to 6 minutes (no KVM), and machines come one by one.
_UP_WITHIN = 3600.0

#: Seconds for one answer of vagrant, which takes some for each machine.
_ANSWERS_WITHIN = 300.0


#: Seconds for a machine's sshd to show its keys: an emulated one that has just been provisioned was
#: seen not to within 20.
_KEYS_WITHIN = 180.0


class VagrantMachines:
    """Machines of one session, as many as were asked for so far."""

    def __init__(self, say: Say = silent) -> None:
        if shutil.which("vagrant") is None:
            raise MissingError(
                "the vagrant lab needs vagrant, which is not on this machine",
                hint="apt-get install vagrant vagrant-libvirt, or vagrant and VirtualBox",
            )
        labs_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="vagrant-", dir=labs_folder()))
        (self.folder / "Vagrantfile").write_bytes(_VAGRANTFILE.read_bytes())
        # Of 192.168.64.0 to 192.168.126.0: below are the networks of VirtualBox and libvirt.
        self.network = f"192.168.{64 + zlib.crc32(self.folder.name.encode()) % 63}"
        self._say = say
        self._count = 0
        self._end = weakref.finalize(self, _destroy, self.folder, self.network)

    def inventory(self, machines: int) -> Path:
        """Have so many machines up; return the inventory that lists them.

        :class:`LabError` with vagrant's own words when it fails.
        """
        if machines > self._count:
            self._say(f"vagrant brings up {machines} machines (minutes)")
            _vagrant(self.folder, self.network, machines, "up", within=_UP_WITHIN)
            self._count = machines
        told = _vagrant(self.folder, self.network, self._count, "ssh-config")
        return self._listed(read_ssh_config(told))

    def destroy(self) -> None:
        """Destroy them and remove their state; safe to call twice."""
        self._end()

    def _listed(self, hosts: Mapping[str, Mapping[str, str]]) -> Path:
        known = self.folder / "known_hosts"
        # They were made just now, for us: what answers there first is them.
        known.write_text("".join(_host_keys(host) for host in hosts.values()))
        lines = [f"known-hosts = {json.dumps(str(known))}"]
        for number, (name, host) in enumerate(hosts.items(), start=1):
            lines += [
                "[[machine]]",
                f"name = {json.dumps(name)}",
                f"address = {json.dumps(host['HostName'])}",
                f"port = {int(host.get('Port', '22'))}",
                f"user = {json.dumps(host['User'])}",
                f"key = {json.dumps(host['IdentityFile'])}",
                f"fabric-address = {json.dumps(f'{self.network}.{10 + number}')}",
            ]
        path = self.folder / "hosts.toml"
        path.write_text("\n".join(lines) + "\n")
        return path


def read_ssh_config(text: str) -> dict[str, dict[str, str]]:
    """Return the hosts of `vagrant ssh-config` with what it says of each, in its order."""
    hosts: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        word, _, value = line.strip().partition(" ")
        if word == "Host":
            current = hosts.setdefault(value.strip(), {})
        elif word:
            current.setdefault(word, value.strip().strip('"'))
    for name, host in hosts.items():
        if missing := {"HostName", "User", "IdentityFile"} - host.keys():
            raise LabError(f"vagrant does not say how {name} is reached: no {min(missing)}")
    return hosts


def _host_keys(host: Mapping[str, str]) -> str:
    address = host["HostName"]
    # A connection for each kind of key; ssh-keyscan gives up on those that are slower than this.
    argv = ["ssh-keyscan", "-T", "60", "-t", "ed25519,ecdsa,rsa", "-p", host.get("Port", "22")]

    def shown() -> str | NotYet:
        done = subprocess.run([*argv, address], capture_output=True, text=True, check=False)
        return done.stdout or NotYet(done.stderr.strip() or "none")

    state = f"the host keys of the sshd at {address}"
    return wait_for(shown, state=state, within=_KEYS_WITHIN, every=1.0)


def _destroy(folder: Path, network: str) -> None:
    # With too high a number: a machine that is not defined is not destroyed.
    if (folder / ".vagrant").exists():
        machines = len(list((folder / ".vagrant" / "machines").glob("*"))) or 1
        _vagrant(folder, network, machines, "destroy", "-f")
    shutil.rmtree(folder, ignore_errors=True)


def _vagrant(
    folder: Path, network: str, machines: int, *argv: str, within: float = _ANSWERS_WITHIN
) -> str:
    try:
        done = _run(["vagrant", *argv], folder, network, machines, within)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`vagrant {argv[0]}` did not end within {within:g} s") from error
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise LabError(
            f"`vagrant {argv[0]}` failed: {' '.join(words[-3:])}",
            hint=f"its state is in {folder}",
        )
    return done.stdout


def _run(
    argv: Sequence[str], folder: Path, network: str, machines: int, within: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=folder,
        env={
            **os.environ,
            "VAGRANT_CWD": str(folder),
            "VAGRANT_DOTFILE_PATH": str(folder / ".vagrant"),
            "SWARM_CHAOS_MACHINES": str(machines),
            "SWARM_CHAOS_NETWORK": network,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
