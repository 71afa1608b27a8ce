"""The warden: a machine's dead man's switch, on the machine.

Run with the interpreter's own library alone, over a connection of ssh::

    python3 -I -S -c WARDEN JANITOR_SOURCE LAB_DIR LAB_ID

It starts the lab's janitor (:mod:`harness.lab.janitor`), says ``janitor PID``, and listens. When
standard input ends, or nothing has come for ``SILENCE`` seconds (a cable that was pulled says
nothing), it has the janitor end the lab: every process, link, rule, mount and file of it.
"""

import os
import select
import signal
import subprocess
import sys

SILENCE = 30.0


def main(source: str, lab: str, lab_id: str) -> int:
    """Keep the lab until nobody is at the other end any more; return the janitor's exit status."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    janitor = subprocess.Popen(
        [
            *("unshare", "--mount", "--propagation", "private", "--"),
            *(sys.executable, "-I", "-S", "-c", source, lab, lab_id),
        ],
        stdin=subprocess.PIPE,
    )
    assert janitor.stdin is not None
    print(f"janitor {janitor.pid}", flush=True)
    while select.select([0], [], [], SILENCE)[0] and os.read(0, 4096):
        pass
    janitor.stdin.close()
    return janitor.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
