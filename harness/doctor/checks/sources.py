"""Whether Debian's and Python's packages can be downloaded."""

from __future__ import annotations

import sys
import tempfile

from harness.doctor.check import Finding, check
from harness.doctor.machine import Machine

_TIMEOUT = 5  # seconds for one small answer
_CACHED = "what is cached already needs no network"


@check("Debian packages", "sources", needed_for="building engines, guests and workload images")
def check_debian(machine: Machine) -> Finding:
    apt = machine.find("apt-get")
    helper = "/usr/lib/apt/apt-helper"
    if apt is None:
        return Finding("missing", "apt is not installed", "use Debian or Ubuntu, or vagrant/")
    listed = machine.ask(
        [apt, "indextargets", "--format", "$(REPO_URI)dists/$(RELEASE)/InRelease"], within=10
    )
    urls = list(dict.fromkeys(line for line in listed.said.splitlines() if "://" in line))
    if listed.code != 0 or not urls:
        return Finding("unknown", "apt has no source to ask", "see /etc/apt/sources.list")
    with tempfile.TemporaryDirectory(prefix="swarm-chaos-doctor-") as folder:
        # apt's own downloader: it knows this machine's proxies and certificates.
        answer = machine.ask(
            [
                helper,
                *("-o", f"Acquire::http::Timeout={_TIMEOUT}"),
                *("-o", f"Acquire::https::Timeout={_TIMEOUT}"),
                *("-o", "Acquire::Retries=0"),
                *("download-file", urls[0], f"{folder}/InRelease"),
            ],
            within=3 * _TIMEOUT,
        )
    if answer.code == 0:
        return Finding("ok", "apt's first source answers")
    return Finding("missing", answer.last_line, f"is the network up? {_CACHED}")


@check("Python packages", "sources", needed_for="setting the project up, and the guest's Python")
def check_python(machine: Machine) -> Finding:
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    argv += ["--timeout", str(_TIMEOUT), "--retries", "0", "index", "versions", "click"]
    answer = machine.ask(argv, within=3 * _TIMEOUT)
    if answer.code == 0:
        return Finding("ok", "pip's index answers")
    return Finding("missing", answer.last_line, f"is the network up? {_CACHED}")
