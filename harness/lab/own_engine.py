"""An engine of the harness's own beside the machine: what ``--lab dind`` needs without Docker."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from harness.engine import Engine
from harness.errors import HarnessError, LabError
from harness.lab.cgroups import NodeGroups
from harness.lab.local_lab import end_lab, labs_folder, new_lab, require_root
from harness.lab.nsenter import joining
from harness.lab.outer_engine import OuterEngine
from harness.wait import NotYet, wait_for

#: Seconds for the engine to answer, as for a node's.
_ANSWERS_WITHIN = 60.0

#: Seconds for it to end in good order, its containers having been removed by their labs.
_ENDS_WITHIN = 30.0


@contextlib.contextmanager
def own_engine(engine: Engine, cgroups: Literal["v1", "v2"] | None = None) -> Iterator[Path]:
    """Run an engine of the harness's own for as long as the block lasts; yield its socket.

    For machines without Docker. It runs as a machine's own would: it shares the pid and cgroup
    namespaces of this side, so its containers can be entered. Its files, mounts and network are
    its own, and it ends with this process, however that ends. ``cgroups`` defaults to the
    layout that a node with this engine has. Needs root.
    """
    require_root("dind", ("unshare", "mount", "ip", "pivot_root"))
    janitor, keeper = new_lab()
    try:
        folder = keeper.lab_dir / "engine"
        folder.mkdir(mode=0o700)
        groups = NodeGroups.under(keeper.janitor, keeper.lab_dir, keeper.lab_id, "engine")
        groups.make_unfiltered()
        script = Path(__file__).with_name("own_engine.sh")
        arguments = [folder, engine.rootfs, labs_folder().resolve(), cgroups or engine.cgroups]
        unshare = ["unshare", "--mount", "--net", "--propagation", "private", "--", "sh"]
        argv = joining(groups.leaves(), [*unshare, str(script), *map(str, arguments)])
        log = folder / "dockerd.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": f"{engine.path}:{os.environ['PATH']}", "HOME": "/root"},
            )
        try:
            _wait_until_it_answers(process, folder / "docker.sock", log)
            yield folder / "docker.sock"
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDS_WITHIN)
    finally:
        end_lab(janitor, keeper)


def _wait_until_it_answers(process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    def answers() -> bool | NotYet:
        if process.poll() is not None:
            said = " / ".join(log.read_text(errors="replace").splitlines()[-3:])
            raise LabError(f"the engine for the dind lab ended while starting: {said}")
        try:
            OuterEngine(socket).check()
        except HarnessError as error:
            return NotYet(error.what)
        return True

    wait_for(answers, state="an engine for the dind lab", within=_ANSWERS_WITHIN, every=0.1)
