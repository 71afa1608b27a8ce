"""The vagrant lab's machines, by a stand-in for `vagrant`: what it is told, what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import LabError, MissingError
from harness.lab.ssh.inventory import read_inventory
from harness.lab.ssh.vagrant import VagrantMachines, read_ssh_config

#: Writes down what it is called with, and answers as Vagrant 2.3.4 does.
VAGRANT = r"""#!/bin/sh
echo "$* machines=$SWARM_CHAOS_MACHINES in=$VAGRANT_DOTFILE_PATH" >>"$TOLD"
[ -e "$VAGRANT_CWD/Vagrantfile" ] || exit 3
case $1 in
up)
    [ ! -e "$TOLD.broken" ] || { echo "No usable default provider could be found" >&2; exit 1; }
    for number in $(seq "$SWARM_CHAOS_MACHINES"); do
        mkdir -p "$VAGRANT_DOTFILE_PATH/machines/machine$number"
        touch "$VAGRANT_DOTFILE_PATH/machines/machine$number/private_key"
    done ;;
ssh-config)
    for number in $(seq "$SWARM_CHAOS_MACHINES"); do
        cat <<CONFIG
Host machine$number
  HostName 192.168.121.$number
  User vagrant
  Port 22
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  PasswordAuthentication no
  IdentityFile $VAGRANT_DOTFILE_PATH/machines/machine$number/private_key
  IdentitiesOnly yes
  LogLevel FATAL

CONFIG
    done ;;
esac
"""
KEYSCAN = '#!/bin/sh\nfor at; do :; done\necho "$at ssh-ed25519 AAAA"\n'


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in in PATH; what it was told, line by line."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("vagrant", VAGRANT), ("ssh-keyscan", KEYSCAN)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    monkeypatch.setenv("SWARM_CHAOS_LABS", str(tmp_path / "labs"))
    return tmp_path / "told"


def test_machines_are_brought_up_listed_and_destroyed(told: Path) -> None:
    machines = VagrantMachines()
    inventory = read_inventory(machines.inventory(2))
    assert [m.name for m in inventory.machines] == ["machine1", "machine2"]
    assert [m.address for m in inventory.machines] == ["192.168.121.1", "192.168.121.2"]
    assert [m.fabric_address for m in inventory.machines] == [
        f"{machines.network}.11",
        f"{machines.network}.12",
    ]
    assert {(m.user, m.port) for m in inventory.machines} == {("vagrant", 22)}
    keys = (machines.folder / "known_hosts").read_text()
    assert keys == "192.168.121.1 ssh-ed25519 AAAA\n192.168.121.2 ssh-ed25519 AAAA\n"
    state = f"in={machines.folder}/.vagrant"
    # As many are there: none is brought up. More: all are defined, and vagrant adds the new one.
    machines.inventory(1)
    assert len(read_inventory(machines.inventory(3)).machines) == 3
    machines.destroy()
    machines.destroy()
    assert told.read_text().splitlines() == [
        f"up machines=2 {state}",
        f"ssh-config machines=2 {state}",
        f"ssh-config machines=2 {state}",
        f"up machines=3 {state}",
        f"ssh-config machines=3 {state}",
        f"destroy -f machines=3 {state}",
    ]
    assert not machines.folder.exists()


def test_a_machine_that_shows_no_key_yet_is_asked_again(told: Path, tmp_path: Path) -> None:
    """As one that is emulated, and busy with its first boot."""
    scan = tmp_path / "bin" / "ssh-keyscan"
    scan.write_text(
        f"#!/bin/sh\n[ -e {told}.asked ] || {{ touch {told}.asked; exit 1; }}\n{KEYSCAN}"
    )
    machines = VagrantMachines()
    machines.inventory(1)
    keys = (machines.folder / "known_hosts").read_text()
    machines.destroy()
    assert keys == "192.168.121.1 ssh-ed25519 AAAA\n"


def test_vagrants_own_words_are_passed_on(told: Path) -> None:
    Path(f"{told}.broken").touch()
    machines = VagrantMachines()
    with pytest.raises(LabError, match="No usable default provider could be found"):
        machines.inventory(1)
    machines.destroy()


def test_without_vagrant_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="the vagrant lab needs vagrant"):
        VagrantMachines()


def test_a_host_that_cannot_be_reached_is_said() -> None:
    with pytest.raises(LabError, match="vagrant does not say how m1 is reached: no IdentityFile"):
        read_ssh_config("Host m1\n  HostName x\n  User y\n")
    assert read_ssh_config("") == {}


def test_two_runs_have_folders_of_their_own(told: Path) -> None:
    one, other = VagrantMachines(), VagrantMachines()
    assert one.folder != other.folder
    one.destroy()
    other.destroy()
