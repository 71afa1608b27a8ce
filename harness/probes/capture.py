"""Packets between nodes, captured by tcpdump: a file for each node, to be read with any tool.

It listens on the fabric, where a node's cable ends, so that what a node sent before it died and
after it came back is in one file. In a guest the time stamps are of its virtual clock.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import LabError, MissingError
from harness.lab import Lab
from harness.lab.nsenter import entering
from harness.trial import Trial
from harness.wait import NotYet, wait_for

FOLDER = "captures"

_ENDS_WITHIN = 10.0
_LISTENS = b"listening on "
_COUNT = re.compile(r"(\d+) packets? (captured|dropped by kernel)")


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    log: Path


class Capture:
    """Captures what each node of a lab sends and gets, from its making until :meth:`close`.

    ``captures/<node>.pcap`` in the trial's folder. The journal's entry ``capture`` says how many
    packets each has, and how many were missed.
    """

    def __init__(self, lab: Lab, trial: Trial) -> None:
        if shutil.which("tcpdump") is None:
            raise MissingError(
                "tcpdump is not installed: packets cannot be captured",
                hint="apt-get install tcpdump, or use the microvm lab, whose guests have it",
            )
        self._trial = trial
        self._folder = trial.folder / FOLDER
        self._folder.mkdir()
        fabric = lab.here.keeper.keeper
        self._running: dict[str, _Running] = {}
        for node in lab.nodes.values():
            self._running[node.name] = self._start(fabric, node.name, node.address)
        for name, running in self._running.items():
            self._listens(name, running)

    def close(self) -> None:
        """End the captures, and record what they have; one that ended before is an error."""
        running, self._running = self._running, {}
        died = [name for name, each in running.items() if each.process.poll() is not None]
        for each in running.values():
            each.process.send_signal(signal.SIGTERM)
        counts: dict[str, dict[str, int]] = {}
        for name, each in running.items():
            each.process.wait(_ENDS_WITHIN)
            said = {what: int(number) for number, what in _COUNT.findall(each.log.read_text())}
            counts[name] = {
                "packets": said.get("captured", 0),
                "missed": said.get("dropped by kernel", 0),
            }
            each.log.unlink()
        self._trial.journal.write("capture", nodes=counts)
        if died:
            raise LabError(f"the capture of {', '.join(died)} ended early")

    def _start(self, fabric: int, name: str, address: str) -> _Running:
        # Each frame where it enters the fabric (-Q in), so that none is there twice.
        command = ["tcpdump", "-i", "any", "-Q", "in", "-n", "-U", "-Z", "root"]
        command += ["-w", str(self._folder / f"{name}.pcap"), f"host {address}"]
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                # It ends with this process, by kill -9 too.
                ["setpriv", "--pdeathsig", "KILL", *entering(fabric, ("net",), command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return _Running(process, log)

    def _listens(self, name: str, running: _Running) -> None:
        def listens() -> bool | NotYet:
            said = running.log.read_bytes()
            if running.process.poll() is not None:
                raise LabError(f"tcpdump for {name} ended: {said.decode(errors='replace').strip()}")
            return _LISTENS in said or NotYet("it has not said that it listens")

        wait_for(listens, state=f"tcpdump for {name}", within=_ENDS_WITHIN, every=0.02)
