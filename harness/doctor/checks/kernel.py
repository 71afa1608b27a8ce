"""What the kernel supports, as :mod:`harness.lab.features` found by trying."""

from __future__ import annotations

from harness.doctor.check import Examination, Finding, check
from harness.doctor.machine import Machine
from harness.doctor.packages import apt_line_for
from harness.probes.sampling.neighbour_table import CURE, ENOUGH

FEATURES = {
    "namespaces": "the namespaces lab",
    "veth": "the namespaces lab: a node's cable",
    "bridge": "the namespaces lab: the fabric",
    "vxlan": "the namespaces lab: overlay networks",
    "overlayfs": "the namespaces lab: a node's root file system",
    "iptables": "the namespaces lab: dockerd's own rules",
    "br_netfilter": "rules between containers of one node",
    "nftables": "partitions and loss by rules",
    "statistic": "random loss on a kernel without netem",
    "netem": "delay, jitter, bursts of loss, reordering (the microVM has it)",
    "tbf": "rate limits",
    "htb": "faults on some packets only",
    "ip_vs": "virtual IPs and the routing mesh (the microVM has it)",
    "esp": "encrypted overlay networks (the microVM has it)",
}
"""Features and what needs them, in the order shown."""

_MODULES = {
    "br_netfilter": "br_netfilter",
    "ip_vs": "ip_vs",
    "esp": "esp4",
    "netem": "sch_netem",
    "tbf": "sch_tbf",
    "htb": "sch_htb",
    "vxlan": "vxlan",
    "overlayfs": "overlay",
}


def _examine(feature: str) -> Examination:
    def examine(machine: Machine) -> Finding:
        tried = machine.kernel[feature]
        if tried.works:
            return Finding("ok", "works")
        if tried.works is None:
            if tried.said.startswith("no program "):
                return Finding("unknown", tried.said, apt_line_for(tried.said.split()[-1]))
            return Finding("unknown", _why_untried(machine) or tried.said)
        module = _MODULES.get(feature)
        if module and _can_be_loaded(machine, module):
            return Finding(
                "degraded", f"a module that is not loaded ({module})", f"as root: modprobe {module}"
            )
        return Finding("missing", tried.said or "the kernel refused")

    return examine


def _why_untried(machine: Machine) -> str:
    namespaces = machine.kernel["namespaces"]
    return "" if namespaces.works else f"there are no namespaces to try it in: {namespaces.said}"


def _can_be_loaded(machine: Machine, module: str) -> bool:
    modprobe = machine.find("modprobe")
    # A dry run: it looks for the module and loads nothing.
    return modprobe is not None and machine.ask([modprobe, "-n", "-q", module], within=5).code == 0


for _name, _use in FEATURES.items():
    check(_name, "kernel", needed_for=_use)(_examine(_name))


@check("ip_forward", "kernel", needed_for="the routing mesh in the namespaces lab")
def check_ip_forward(machine: Machine) -> Finding:
    if machine.kernel.ip_forward:
        return Finding("ok", "new network namespaces inherit 1")
    return Finding(
        "degraded",
        "new network namespaces inherit 0: requests to the mesh would hang",
        "as root: sysctl -w net.ipv4.ip_forward=1",
    )


@check("cgroups", "kernel", needed_for="the namespaces lab: containers, memory, freezing")
def check_cgroups(machine: Machine) -> Finding:
    layout = machine.kernel.cgroup
    if layout == "none":
        return Finding("missing", "no cgroup file system is mounted", "mount -t cgroup2 ...")
    return Finding("ok", layout)


@check(
    "pressure",
    "kernel",
    needed_for="namespaces, dind, ssh labs: to see that other work starves them",
)
def check_pressure(machine: Machine) -> Finding:
    try:
        said = machine.pressure.read_text()
    except OSError:
        return Finding(
            "degraded",
            "no pressure stall information: a starved lab is judged all the same",
            "boot with psi=1 on the kernel's command line",
        )
    # Of a whole machine the kernel has the line since it has it of cgroups (5.13).
    if not any(line.startswith("full ") for line in said.splitlines()):
        return Finding(
            "degraded",
            "it does not say when all of a lab waits: a starved lab is judged all the same",
            "a kernel from 5.13 on",
        )
    return Finding("ok", "says for how long a lab waits for a CPU")


@check(
    "neighbours", "kernel", needed_for="namespaces, dind labs: of many nodes, or several at once"
)
def check_neighbours(machine: Machine) -> Finding:
    try:
        room = int(machine.neighbours.read_text())
    except (OSError, ValueError):
        return Finding("unknown", "this network namespace does not say how many there is room for")
    if room < ENOUGH:
        return Finding("ok", f"room for {room}, which a lab of fifty nodes fills: {CURE}")
    return Finding("ok", f"room for {room}")
