"""Whether KVM truly boots a kernel here. The device node alone says nothing."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MicrovmError
from harness.images import Cache, Say, silent
from harness.images.kernel import DebianKernel
from harness.vm.initrd import cpio, regular
from harness.vm.machine import KVM_CPU
from harness.vm.qemu_binary import Qemu, provide_qemu
from harness.vm.qemu_process import Emulator

_WITHIN = 20.0
_LINE = "microvm-probe-alive"
_DEVICE = Path("/dev/kvm")


@dataclass(frozen=True)
class KvmVerdict:
    """Whether a kernel came up under KVM, and if not, why."""

    boots: bool
    reason: str


def kvm_boots(kernel: DebianKernel, cache: Cache, *, say: Say = silent) -> KvmVerdict:
    """Boot ``kernel`` under KVM to its first program and see.

    Takes at most 20 s and is remembered until this machine is rebooted or changes its QEMU or
    kernel.
    """
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return KvmVerdict(False, f"{_DEVICE} is missing or not open to this user")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    qemu = provide_qemu(cache, say=say)
    facts = "\n".join([boot, qemu.version, kernel.version, str(os.geteuid())])
    note = cache.root / "kvm-probe"
    if note.is_file():
        known, _, verdict = note.read_text().partition("\n\n")
        answer, _, reason = verdict.partition(" ")
        if known == facts and answer in ("yes", "no"):
            return KvmVerdict(answer == "yes", reason)
    verdict_now = _probe(kernel, qemu)
    cache.root.mkdir(parents=True, exist_ok=True)
    answer = "yes" if verdict_now.boots else "no"
    note.write_text(f"{facts}\n\n{answer} {verdict_now.reason}")
    return verdict_now


def _probe(kernel: DebianKernel, qemu: Qemu) -> KvmVerdict:
    with tempfile.TemporaryDirectory(prefix="swarm-chaos-kvm-") as scratch:
        work = Path(scratch)
        console = work / "console.log"
        (work / "initrd").write_bytes(cpio([regular("init", probe_program(), executable=True)]))
        switches = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        switches += ["-machine", "pc", "-accel", "kvm", "-cpu", KVM_CPU, "-smp", "1", "-m", "256"]
        switches += ["-chardev", f"file,id=console,path={console}"]
        switches += ["-device", "isa-serial,chardev=console"]
        switches += ["-kernel", str(kernel.vmlinuz), "-initrd", str(work / "initrd")]
        switches += ["-append", "console=ttyS0 panic=-1 quiet"]
        try:
            emulator = Emulator(qemu, switches, log=work / "qemu.log", cpu=None)
        except MicrovmError as error:
            return KvmVerdict(False, error.what)
        try:
            started = time.monotonic()
            emulator.go()
            while time.monotonic() - started < _WITHIN:
                if console.exists() and _LINE in console.read_text(errors="replace"):
                    return KvmVerdict(True, "a kernel reached its first program")
                if emulator.ended() is not None:
                    complaint = emulator.complaint() or "QEMU ended before the first program"
                    return KvmVerdict(False, complaint)
                time.sleep(0.05)
        except MicrovmError as error:
            return KvmVerdict(False, emulator.complaint() or error.what)
        finally:
            emulator.close()
        return KvmVerdict(False, f"a kernel did not reach its first program within {_WITHIN:g} s")


def probe_program() -> bytes:
    """Return a static ELF of a few hundred bytes that writes one line and sleeps for ever.

    Nothing is in the initrd but this program, so it makes its own node of the console.
    """
    line = f"{_LINE}\n".encode()
    path = b"/c\0"
    base = 0x400000
    code_at = base + 64 + 56

    def program(path_at: int, line_at: int) -> bytes:
        return b"".join(
            [
                # mknod("/c", S_IFCHR | 0600, makedev(5, 1))
                b"\xb8" + (133).to_bytes(4, "little"),
                b"\xbf" + path_at.to_bytes(4, "little"),
                b"\xbe" + (0o020600).to_bytes(4, "little"),
                b"\xba" + (0x501).to_bytes(4, "little"),
                b"\x0f\x05",
                # open("/c", O_WRONLY)
                b"\xb8" + (2).to_bytes(4, "little"),
                b"\xbf" + path_at.to_bytes(4, "little"),
                b"\xbe" + (1).to_bytes(4, "little"),
                b"\x0f\x05",
                # write(that, line, length)
                b"\x89\xc7",
                b"\xb8" + (1).to_bytes(4, "little"),
                b"\xbe" + line_at.to_bytes(4, "little"),
                b"\xba" + len(line).to_bytes(4, "little"),
                b"\x0f\x05",
                # pause() for ever
                b"\xb8" + (34).to_bytes(4, "little"),
                b"\x0f\x05",
                b"\xeb\xf7",
            ]
        )

    length = len(program(0, 0))
    code = program(code_at + length, code_at + length + len(path)) + path + line
    total = 64 + 56 + len(code)
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += b"".join(
        [
            (2).to_bytes(2, "little"),  # an executable
            (62).to_bytes(2, "little"),  # x86-64
            (1).to_bytes(4, "little"),
            code_at.to_bytes(8, "little"),
            (64).to_bytes(8, "little"),  # program headers follow
            bytes(8),
            bytes(4),
            (64).to_bytes(2, "little"),
            (56).to_bytes(2, "little"),
            (1).to_bytes(2, "little"),
            bytes(6),
        ]
    )
    segment = b"".join(
        [
            (1).to_bytes(4, "little"),  # load
            (5).to_bytes(4, "little"),  # readable, executable
            bytes(8),
            base.to_bytes(8, "little"),
            base.to_bytes(8, "little"),
            total.to_bytes(8, "little"),
            total.to_bytes(8, "little"),
            (0x1000).to_bytes(8, "little"),
        ]
    )
    return elf + segment + code
