"""What this kernel supports, found by trying and not from version numbers.

Everything is tried in throw-away namespaces (network, mount, pid, ipc, uts; for a caller without
root also user), so no link, mount, rule or qdisc is ever made on the host. The kernel may load a
module by itself for it, as it would for the lab.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

CgroupLayout = Literal["v1", "v2", "hybrid", "none"]

# Without these no node of the namespaces lab can run a swarm at all. The rest (netem, ip_vs, ...)
# decides which workloads and faults there are.
NEEDED_BY_NAMESPACES = (
    "namespaces",
    "veth",
    "bridge",
    "vxlan",
    "overlayfs",
    "iptables",
)

_PROBE_DEADLINE = 20.0  # seconds; all of it takes well under one

# One line per feature: name, yes|no|untried, what was said. `untried` is for a missing program.
_SCRIPT = r"""
scratch=$1
try() {
    name=$1; shift
    if ! command -v "$1" >/dev/null 2>&1; then
        printf '%s\tuntried\tno program %s\n' "$name" "$1"
        return
    fi
    if said=$("$@" 2>&1); then answer=yes; else answer=no; fi
    printf '%s\t%s\t%s\n' "$name" "$answer" "$(printf '%s' "$said" | tr '\n\t' '  ')"
}
there() { test -e "$1" || { echo "no $1"; return 1; }; }
reads_1() { read -r seen <"$1"; test "$seen" = 1 || { echo "$1 is $seen"; return 1; }; }
printf 'namespaces\tyes\t\n'
try veth ip link add probe0 type veth peer name probe1
try bridge ip link add probebr type bridge
try vxlan ip link add probevx type vxlan id 42 dstport 4789
try netem tc qdisc add dev probe0 root netem delay 1ms
tc qdisc del dev probe0 root 2>/dev/null
try tbf tc qdisc add dev probe0 root tbf rate 1mbit burst 10kb latency 50ms
tc qdisc del dev probe0 root 2>/dev/null
try htb tc qdisc add dev probe0 root handle 1: htb default 1
tc qdisc del dev probe0 root 2>/dev/null
try nftables nft 'add table inet probe; add chain inet probe c; add rule inet probe c counter drop'
# What dockerd itself asks for first; nothing of its networks works without.
try iptables iptables -w -t nat -A POSTROUTING -m addrtype --dst-type LOCAL -j MASQUERADE
try statistic iptables -w -A FORWARD -m statistic --mode random --probability 0.5 -j DROP
try br_netfilter there /proc/sys/net/bridge/bridge-nf-call-iptables
try ip_vs there /proc/self/net/ip_vs
# What an encrypted overlay network asks for (moby overlay/encryption.go): ESP, by AES-GCM.
try esp ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode transport \
    aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f10111213 64
# A new network namespace copies it from the host's first one, and so will the swarm's ingress.
try ip_forward reads_1 /proc/sys/net/ipv4/ip_forward
try overlayfs mount -t overlay probe \
    -o "lowerdir=$scratch/lower,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/merged"
umount "$scratch/merged" 2>/dev/null
exit 0
"""

#: Every feature that is tried, by name.
FEATURES = ("namespaces", *re.findall(r"^try (\w+)", _SCRIPT, flags=re.MULTILINE))


@dataclass(frozen=True)
class Tried:
    """One feature: ``works`` is None when it could not be tried; ``said`` is what was seen."""

    works: bool | None
    said: str = ""


_UNTRIED = Tried(None, "not tried")


@dataclass(frozen=True)
class KernelFeatures:
    """What was tried, by name, and the cgroup layout. A feature not tried counts as not there."""

    tried: Mapping[str, Tried] = field(default_factory=dict)
    cgroup: CgroupLayout = "none"

    def __getitem__(self, name: str) -> Tried:
        """Return the result for ``name``."""
        return self.tried.get(name, _UNTRIED)

    def has(self, name: str) -> bool:
        """Return whether ``name`` was tried and works."""
        return self[name].works is True

    @property
    def ip_forward(self) -> bool:
        """A new network namespace forwards, because the host's first one does."""
        return self.has("ip_forward")

    @property
    def mesh(self) -> bool:
        """Whether published ports work on every node (the ingress routing mesh)."""
        return self.has("ip_vs") and self.ip_forward


def probe_features(scratch: Path | None = None) -> KernelFeatures:
    """Try what this kernel can do; well under half a second, and once per process.

    ``scratch`` is an existing folder on the file system that is to carry overlay uppers
    (default: the folder for temporary files); what is made in it is removed again. Never raises:
    what could not be tried is in the result, with the reason.
    """
    return _probe((scratch or Path(tempfile.gettempdir())).resolve(), os.geteuid())


@cache
def _probe(scratch: Path, uid: int) -> KernelFeatures:
    layout = cgroup_layout(_text(Path("/proc/self/mounts")))
    if shutil.which("unshare") is None:
        return KernelFeatures({"namespaces": Tried(None, "no program unshare")}, layout)
    try:
        with tempfile.TemporaryDirectory(dir=scratch, prefix="swarm-chaos-probe-") as folder:
            for name in ("lower", "upper", "work", "merged"):
                Path(folder, name).mkdir()
            return KernelFeatures(_try_all(folder, uid), layout)
    except OSError as error:
        return KernelFeatures({"namespaces": Tried(None, f"{scratch}: {error.strerror}")}, layout)


def _try_all(folder: str, uid: int) -> dict[str, Tried]:
    user = [] if uid == 0 else ["--user", "--map-root-user"]
    argv = [
        "unshare",
        *user,
        *("--net", "--mount", "--ipc", "--uts", "--cgroup", "--propagation", "private"),
        *("--pid", "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-c", _SCRIPT, "probe", folder),
    ]
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    try:
        ran = subprocess.run(
            argv,
            env={"PATH": path, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"namespaces": Tried(None, f"no answer within {_PROBE_DEADLINE:g} s")}
    tried = parse_answers(ran.stdout)
    if "namespaces" not in tried:
        said = (ran.stderr.strip().splitlines() or ["unshare failed"])[-1]
        return {"namespaces": Tried(False, said)}
    return tried


def parse_answers(text: str) -> dict[str, Tried]:
    """Return the probe's lines, by feature; unknown lines are left out."""
    works = {"yes": True, "no": False, "untried": None}
    answers: dict[str, Tried] = {}
    for line in text.splitlines():
        match line.split("\t"):
            case [name, answer, said] if answer in works:
                answers[name] = Tried(works[answer], said.strip())
    return answers


def cgroup_layout(mounts: str) -> CgroupLayout:
    """Return the layout that a ``/proc/self/mounts`` text shows.

    ``hybrid`` is v1 hierarchies with controllers next to a mounted cgroup2.
    """
    bookkeeping = {"rw", "ro", "relatime", "nosuid", "nodev", "noexec", "xattr", "noatime"}
    v1 = v2 = False
    for line in mounts.splitlines():
        match line.split():
            case [_, _, "cgroup2", *_]:
                v2 = True
            case [_, _, "cgroup", options, *_]:
                said = (o for o in options.split(",") if "=" not in o)
                v1 = v1 or any(option not in bookkeeping for option in said)
    if v1:
        return "hybrid" if v2 else "v1"
    return "v2" if v2 else "none"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
