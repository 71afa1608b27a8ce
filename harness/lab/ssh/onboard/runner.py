"""Runs programs on a machine for the harness, as many at once as it asks for, over one session.

A program costs a fork here; as a session of ssh of its own it would cost ten times as much on both
sides, and the harness asks whether something is alive many times a second. A line of JSON is a
request on standard input, and an answer on standard output. It ends with its standard input.
"""

import base64
import json
import subprocess
import sys
import threading

LOCK = threading.Lock()


def serve(request: dict) -> None:  # type: ignore[type-arg]  # a machine's python3 may be an old one
    """Run one program to its end, and answer."""
    stdin = request["stdin"]
    data = None if stdin is None else base64.b64decode(stdin)
    answer = {"id": request["id"], "code": None, "stdout": "", "stderr": ""}
    try:
        done = subprocess.run(
            request["argv"],
            stdin=subprocess.DEVNULL if data is None else None,
            input=data,
            capture_output=True,
            timeout=request["timeout"],
            check=False,
        )
        answer["code"] = done.returncode if done.returncode >= 0 else 128 - done.returncode
        answer["stdout"] = base64.b64encode(done.stdout).decode()
        answer["stderr"] = base64.b64encode(done.stderr).decode()
    except subprocess.TimeoutExpired:
        pass
    except OSError as error:  # as a shell has it: not there, or not to be run
        answer["code"] = 127 if isinstance(error, FileNotFoundError) else 126
        answer["stderr"] = base64.b64encode(str(error).encode()).decode()
    with LOCK:
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    for line in sys.stdin.buffer:
        threading.Thread(target=serve, args=(json.loads(line),), daemon=True).start()
