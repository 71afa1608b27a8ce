"""Runs in the guest of the microVM tests: freezes there, then does what its inputs say."""

import hashlib
import os
import signal
import time
import uuid
from pathlib import Path
from typing import Any

from harness.vm import guest_init

HELD = {"since": 0}


def prepare() -> None:
    HELD["since"] = time.monotonic_ns()
    print("prepared", flush=True)


def run(payload: Path, inputs: dict[str, Any], out: Path) -> int:
    print(f"payload says {(payload / 'word').read_text()}", flush=True)
    doing = inputs["do"]
    if doing == "fingerprint":
        return fingerprint(out, float(inputs["seconds"]))
    if doing == "exit":
        return int(inputs["code"])
    if doing == "raise":
        raise RuntimeError("as asked")
    if doing == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if doing == "sleep":
        (out / "before").write_text("slept")
        time.sleep(float(inputs["seconds"]))
    if doing == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1000)
    if doing == "spin":
        while True:
            pass
    if doing == "panic":
        Path("/proc/sysrq-trigger").write_text("c")
    if doing == "eat":
        held = []
        while True:
            held.append(bytearray(os.urandom(1 << 20)))
    if doing == "fill":
        with Path("/var/lib/fill").open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
    if doing == "leave":
        (out / "much").write_bytes(bytes(int(inputs["bytes"])))
    if doing == "poweroff":
        guest_init.end_machine()
    return 0


def fingerprint(out: Path, seconds: float) -> int:
    """Everything that would tell two runs apart: clocks, random numbers, the scheduler."""
    told = [f"frozen at {HELD['since']}"]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        told.append(f"{time.monotonic_ns()} {time.time_ns()} {time.perf_counter_ns()}")
    told += [str(uuid.uuid4()), os.urandom(64).hex(), str(os.getpid())]
    for name in ("schedstat", "interrupts", "softirqs", "stat", "meminfo", "vmstat"):
        told.append((Path("/proc") / name).read_text())
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        told.append(f"{process.name} {(process / 'schedstat').read_text()}")
    text = "\n".join(told)
    (out / "fingerprint.txt").write_text(text)
    (out / "folder").mkdir()
    (out / "folder" / "digest").write_text(hashlib.sha256(text.encode()).hexdigest())
    return 0


if __name__ == "__main__":
    guest_init.serve(prepare, run)
