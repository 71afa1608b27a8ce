#!/usr/bin/env python3
"""Build a Vagrant box for the vagrant lab, from Debian's packages: no box need be downloaded.

    .venv/bin/python vagrant/box.py [--suite bookworm] [--into build/vagrant]

It is for the provider libvirt. An ordinary user can build it (`uidmap`, as for the microVM lab):
mmdebstrap installs the packages, verified by apt, and `mke2fs -d` writes the disk's file system
from a folder, so nothing is mounted and no loop device is used. The machine boots the kernel and
the initrd that lie in the box beside its disk, so there is no boot loader and no partition.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.errors import HarnessError, ImageError, MissingError
from harness.images.debian import DebianRecipe, root_tar
from harness.lab.ssh.machine import PACKAGES

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "swarm-chaos"
DISK_GIB = 8  # on the host it takes what is written to it

#: Besides what the ssh lab asks of a machine: what boots, and what Vagrant itself asks for.
BOOTS = (
    *("systemd-sysv", "udev", "dbus", "kmod", "linux-image-cloud-amd64", "apparmor"),
    *("openssh-server", "sudo", "procps", "netbase"),
)

PARTS_OF_BOOT = {"vmlinuz", "initrd"}

#: Vagrant's insecure key, which its documentation prints: the first `vagrant up` replaces it.
KEY = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGE"
    "FHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo"
    "9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0"
    "jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc"
    "9c9WhQ== vagrant insecure public key"
)

#: What makes it a machine of Vagrant's; the root file system is $1. The marker that allows the
#: harness to use a machine is not there: the lab's Vagrantfile puts it on those of the lab.
SETUP = f"""
set -eu
cd "$1"
chroot . useradd --create-home --shell /bin/bash vagrant
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >etc/sudoers.d/vagrant
chmod 440 etc/sudoers.d/vagrant
mkdir -m 700 home/vagrant/.ssh
echo '{KEY}' >home/vagrant/.ssh/authorized_keys
chmod 600 home/vagrant/.ssh/authorized_keys
chroot . chown -R vagrant:vagrant home/vagrant/.ssh

echo {NAME} >etc/hostname
echo '127.0.0.1 localhost {NAME}' >etc/hosts
echo 'LABEL={NAME} / ext4 noatime 0 1' >etc/fstab
cat >etc/systemd/network/10-vagrant.network <<'NETWORK'
# The network that Vagrant manages the machine by; it adds files for others.
[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
NETWORK
chroot . systemctl --quiet enable systemd-networkd.service

# Each machine of the box has an identity and host keys of its own, from its first boot on. (A
# machine-id of "uninitialized" would have systemd enable all that is installed.)
: >etc/machine-id
rm -f var/lib/dbus/machine-id etc/ssh/ssh_host_*
cat >etc/systemd/system/ssh-host-keys.service <<'UNIT'
[Unit]
Description=Host keys of this machine
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
UNIT
chroot . systemctl --quiet enable ssh-host-keys.service
"""

VAGRANTFILE = f"""\
# Of the box: the machine boots the kernel beside its disk.
Vagrant.configure("2") do |config|
  config.vm.provider "libvirt" do |vm|
    vm.kernel = File.expand_path("vmlinuz", __dir__)
    vm.initrd = File.expand_path("initrd", __dir__)
    vm.cmd_line = "root=LABEL={NAME} ro net.ifnames=0 console=ttyS0 quiet"
  end
end
"""


def main() -> None:
    """Build it; end with the exit code of the error, and its sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", default="bookworm", help="Debian's release: bookworm, trixie")
    parser.add_argument("--into", type=Path, default=REPOSITORY / "build" / "vagrant")
    given = parser.parse_args()
    try:
        for program, package in (("qemu-img", "qemu-utils"), ("mke2fs", "e2fsprogs")):
            if shutil.which(program) is None:
                raise MissingError(f"a box needs {program}", hint=f"apt-get install {package}")
        given.into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="box-", dir=given.into) as scratch:
            box = build(given.suite, Path(scratch), given.into / f"{NAME}.box")
    except HarnessError as error:
        print(f"box: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"{box} ({box.stat().st_size >> 20} MiB). For use in the lab:")
    print(f"  vagrant box add --name {NAME} {shlex.quote(str(box))}")
    print(f"  SWARM_CHAOS_BOX={NAME} swarm-chaos run --lab vagrant ...")


def build(suite: str, scratch: Path, box: Path) -> Path:
    """Make the box's parts in ``scratch`` and write ``box``."""
    packages = tuple(sorted({*PACKAGES.values(), *BOOTS}))
    recipe = DebianRecipe(suite, packages, hooks=(SETUP,))
    print(
        f"box: installing {len(packages)} packages of {suite} and what they depend on", flush=True
    )
    root_tar(recipe, scratch / "root.tar", say=print)
    take_kernel(scratch)
    print("box: writing its disk", flush=True)
    write_disk(scratch)
    (scratch / "Vagrantfile").write_text(VAGRANTFILE)
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": DISK_GIB}
    (scratch / "metadata.json").write_text(json.dumps(metadata))
    draft = scratch / box.name
    with tarfile.open(draft, "w") as tar:  # the disk in it is compressed
        for name in ("metadata.json", "Vagrantfile", "vmlinuz", "initrd", "box.img"):
            tar.add(scratch / name, name)
    draft.replace(box)
    return box


def take_kernel(scratch: Path) -> None:
    """Have the kernel and the initrd beside the archive of the root file system."""
    found = set()
    with tarfile.open(scratch / "root.tar") as tar:
        for member in tar:
            path = Path(member.name)  # ./boot/vmlinuz-6.1.0-50-cloud-amd64
            name = path.name.partition("-")[0].removesuffix(".img")
            if member.isfile() and path.parent == Path("boot") and name in PARTS_OF_BOOT:
                source = tar.extractfile(member)
                assert source is not None
                with source, (scratch / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
                (scratch / name).chmod(0o644)  # libvirt's QEMU is another user
                found.add(name)
    if missing := PARTS_OF_BOOT - found:
        raise ImageError(f"the packages brought no {' and no '.join(sorted(missing))}")


def write_disk(scratch: Path) -> None:
    """Write ``box.img`` from ``root.tar``: one ext4 file system, no partitions."""
    # What is zero on the disk is not in the box; the tables of inodes are written here, or each
    # machine would write its own while it is in use.
    steps = f"""
        mkdir root
        tar -x -f root.tar -C root --exclude='./dev/*' --exclude='./boot/vmlinuz-*' \
            --exclude='./boot/initrd.img-*' --xattrs --xattrs-include='*'
        mke2fs -q -t ext4 -L {NAME} -m 0 -N 262144 -E lazy_itable_init=0,lazy_journal_init=0 \
            -d root disk.raw {DISK_GIB}G
        rm -rf root root.tar
        qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd disk.raw box.img
        rm disk.raw
    """
    # Owners and modes of files are root's business; fakeroot remembers them for anyone else.
    shell = ["sh", "-eu", "-c", steps]
    command = shell if os.geteuid() == 0 else ["fakeroot", "--", *shell]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ImageError(f"the box's disk could not be written: {done.stderr.strip()[-300:]}")


if __name__ == "__main__":
    main()
