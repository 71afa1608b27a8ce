"""What machine QEMU is asked to be: the switches, in one place.

Virtual clock: the guest's clock counts executed instructions and jumps over idle time. Nothing
comes in from outside: CPUs that one thread runs, disks that are memory, no device that takes
input, a seed for QEMU's own random numbers. Every switch here is part of a snapshot's key.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import MicrovmError
from harness.vm.contract import INBOX_SIZE, OUTBOX_SIZE

_MIB = 1 << 20

KVM_CPU = "host,-arch-capabilities"
"""The host's CPU, without a register on mitigations: guests have them off, and not every KVM that
is itself in a guest can set it."""

MOST_CPUS = 8
"""CPUs that a machine may have at most."""


class Clock(StrEnum):
    """What time is in the guest."""

    VIRTUAL = "virtual"
    """Executed instructions; the same inputs give the same bytes."""
    REAL = "real"
    """The host's time; for absolute speed and heavy load."""


class Accelerator(StrEnum):
    """Who runs the guest's instructions."""

    TCG = "tcg"
    KVM = "kvm"


@dataclass(frozen=True)
class Machine:
    """A virtual machine's hardware. Sizes in MiB.

    ``icount_shift``: one instruction takes ``2**icount_shift`` virtual nanoseconds (virtual
    clock only). ``cpus``: in virtual time one thread of the host's runs them in turn.
    ``cgroup``: the guest's layout, 2, or 1 for engines that know no other.
    The two mailboxes and the root file system must differ in size: the guest knows them by it.
    """

    clock: Clock = Clock.VIRTUAL
    accelerator: Accelerator = Accelerator.TCG
    memory_mib: int = 3000
    cpus: int = 1
    icount_shift: int = 0
    cgroup: int = 2
    inbox_mib: int = 128
    outbox_mib: int = 256
    epoch: str = "2026-01-01T00:00:00"
    cpu: str = "max,-erms,-fsrm,-la57,-smap,-smep,-pku,-rdrand,-rdseed"
    """What costs under emulation is left out: string instructions are slow, so there are none; a
    page is found in four steps and not five; and what guards memory that nobody attacks ends a
    translated block each time it is switched. So is the CPU's random generator: where it stands
    is part of no saved state, and a machine that was frozen in mid-run would go on with other
    numbers."""

    def __post_init__(self) -> None:
        if self.clock is Clock.VIRTUAL and self.accelerator is not Accelerator.TCG:
            raise MicrovmError("virtual time needs the TCG accelerator")
        if not 1 <= self.cpus <= MOST_CPUS:
            raise MicrovmError(
                f"a machine with {self.cpus} CPUs is not valid: give 1 to {MOST_CPUS}"
            )
        if self.cgroup not in (1, 2):
            raise MicrovmError(f"there is no cgroup version {self.cgroup}")

    @property
    def inbox_size(self) -> int:
        """Bytes of the inbox."""
        return self.inbox_mib * _MIB

    @property
    def outbox_size(self) -> int:
        """Bytes of the outbox."""
        return self.outbox_mib * _MIB

    def facts(self) -> dict[str, Any]:
        """Everything that goes into a snapshot's key."""
        return asdict(self)

    def kernel_command_line(self, root_size: int) -> str:
        """Return the kernel's command line; ``root_size`` is the root device's size in bytes."""
        parameters = [
            "console=ttyS0",
            "loglevel=4",
            "panic=-1",  # reboot at once, which ends QEMU: a panic is seen, not waited out
            "random.trust_cpu=on",
            "mitigations=off",
            "apparmor=0",
            "clearcpuid=112",  # rep_good: string instructions are slow under emulation
            "nowatchdog",
            "init_on_alloc=0",  # pages and objects are not cleared for safety's sake, nor
            "randomize_kstack_offset=off",  # stacks shifted: each is work that nobody asked for
            "net.ifnames=0",
            "transparent_hugepage=never",
            f"microvm.root={root_size}",
            f"{INBOX_SIZE}={self.inbox_size}",
            f"{OUTBOX_SIZE}={self.outbox_size}",
            f"microvm.cgroup={self.cgroup}",
        ]
        if self.accelerator is Accelerator.TCG:
            parameters.append("tsc=reliable")  # no watchdog timer twice a second
        return " ".join(parameters)

    def switches(
        self,
        files: Files,
        *,
        seed: int,
        private: bool,
        serial: int | None = None,
        idle_in_real_time: bool = False,
        goes_on: bool = False,
    ) -> list[str]:
        """Return QEMU's arguments for this machine on ``files``.

        ``private``: memory, root and inbox are copies on write (a thaw) and not the files
        themselves (a freeze). The outbox is always the file itself. ``serial``: a descriptor of
        QEMU's, a connected socket, from which the guest's console takes input; without it the
        console only writes. ``idle_in_real_time``: with the virtual clock, idle time is waited
        out and not jumped over; no part of what is frozen, so a thaw may differ in it.
        ``goes_on``: the console's file holds what the guest has said before its checkpoint.
        """
        share = "off" if private else "on"
        command = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        command += ["-machine", "pc,nvdimm=on,memory-backend=ram,usb=off,vmport=off"]
        command += ["-smp", str(self.cpus), "-seed", str(seed)]
        if self.clock is Clock.VIRTUAL:
            command += ["-accel", "tcg,thread=single", "-cpu", self.cpu]
            sleep = "on" if idle_in_real_time else "off"
            command += ["-icount", f"shift={self.icount_shift},sleep={sleep}"]
            command += ["-rtc", f"base={self.epoch},clock=vm"]
        elif self.accelerator is Accelerator.KVM:
            command += ["-accel", "kvm", "-cpu", self.cpu, "-rtc", "base=utc,clock=host"]
        else:
            command += ["-accel", "tcg,thread=multi", "-cpu", self.cpu]
            command += ["-rtc", "base=utc,clock=host"]
        maximum = self.memory_mib + files.root_mib + self.inbox_mib + self.outbox_mib + 1024
        command += ["-m", f"{self.memory_mib},slots=4,maxmem={maximum}M"]
        command += _memory("ram", self.memory_mib, files.ram, share)
        command += _nvdimm("root", files.root_mib, files.root, share)
        command += _nvdimm("inbox", self.inbox_mib, files.inbox, share)
        command += _nvdimm("outbox", self.outbox_mib, files.outbox, "on")
        command += ["-device", "pvpanic", "-action", "panic=pause"]
        console = _quoted(files.console)
        command += [
            "-chardev",
            f"file,id=console,path={console}{',append=on' if goes_on else ''}"
            if serial is None
            else f"socket,id=console,fd={serial},logfile={console}",
        ]
        command += ["-device", "isa-serial,chardev=console"]
        command += ["-kernel", str(files.kernel), "-initrd", str(files.initrd)]
        command += ["-append", self.kernel_command_line(files.root_mib * _MIB)]
        return command


@dataclass(frozen=True)
class Files:
    """The host's files behind one machine."""

    ram: Path
    root: Path
    root_mib: int
    inbox: Path
    outbox: Path
    console: Path
    kernel: Path
    initrd: Path


def _quoted(path: Path) -> str:
    return str(path).replace(",", ",,")


def _memory(name: str, size_mib: int, path: Path, share: str) -> list[str]:
    backend = f"memory-backend-file,id={name},size={size_mib}M,mem-path={_quoted(path)}"
    return ["-object", f"{backend},share={share}"]


def _nvdimm(name: str, size_mib: int, path: Path, share: str) -> list[str]:
    return [*_memory(name, size_mib, path, share), "-device", f"nvdimm,id=nv-{name},memdev={name}"]
