"""Runs in the guest of the microVM tests: freezes there, then does what its inputs say."""

import contextlib
import hashlib
import os
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from harness.vm import guest_init

HELD: dict[str, Any] = {"since": 0}


def prepare() -> None:
    HELD["since"] = time.monotonic_ns()
    print("prepared", flush=True)


def warm_up(inputs: dict[str, Any]) -> None:
    with Path("/var/lib/warm").open("a") as warm:
        warm.write(f"{inputs['warmth']} {os.urandom(4).hex()} ")
    HELD["since"] = time.monotonic_ns()


def run(payload: Path, inputs: dict[str, Any], out: Path) -> int:
    print(f"payload says {(payload / 'word').read_text()}", flush=True)
    doing = inputs["do"]
    if doing == "fingerprint":
        return fingerprint(out, float(inputs["seconds"]), inputs.get("checkpoints", 0))
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


def pass_by(count: int) -> None:
    """Stop at checkpoints in a thread of its own; memory and files change meanwhile."""
    for number in range(count):
        time.sleep(0.2)
        HELD[f"page {number}"] = bytearray(os.urandom(1 << 20))
        Path(f"/var/lib/before-{number}").write_bytes(os.urandom(1 << 16))
        brought = guest_init.checkpoint(f"point {number}")
        HELD[f"brought {number}"] = sorted(brought or {})


def fingerprint(out: Path, seconds: float, checkpoints: int) -> int:
    """Everything that would tell two runs apart: clocks, random numbers, the scheduler."""
    told = [f"frozen at {HELD['since']}"]
    with contextlib.suppress(FileNotFoundError):
        told.append(f"warm {Path('/var/lib/warm').read_text()}")
    end = time.monotonic() + seconds
    threading.Thread(target=pass_by, args=(checkpoints,), daemon=True).start()
    while time.monotonic() < end:
        time.sleep(0.05)
        told.append(f"{time.monotonic_ns()} {time.time_ns()} {time.perf_counter_ns()}")
    for number in range(checkpoints):
        told.append(hashlib.sha256(HELD[f"page {number}"]).hexdigest())
        told.append(hashlib.sha256(Path(f"/var/lib/before-{number}").read_bytes()).hexdigest())
        told.append(f"brought {HELD[f'brought {number}']}")
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
    guest_init.serve(prepare, run, warm_up=warm_up)
