"""The programs that the harness calls, and the packages that contain them."""

from __future__ import annotations

from harness.doctor.check import Examination, Finding, check
from harness.doctor.machine import Machine
from harness.doctor.packages import apt_line_for

PROGRAMS = {
    "mmdebstrap": "building engines, guests and workload images",
    "fakeroot": "the microVM's root file system",
    "mke2fs": "the microVM's root file system",
    "depmod": "the microVM's kernel",
    "setpriv": "the microVM: a guest ends with the process that started it",
    "taskset": "the microVM: one core for one guest",
    "unshare": "the namespaces lab",
    "nsenter": "the namespaces lab",
    "mount": "the namespaces lab",
    "pivot_root": "the namespaces lab",
    "ip": "the namespaces lab",
    "ssh": "the ssh lab",
    "tc": "link faults",
    "nft": "partitions and loss by rules",
    "ps": "looking at a node's processes",
}
"""Programs and what needs them, in the order shown."""


def _find(program: str) -> Examination:
    def examine(machine: Machine) -> Finding:
        where = machine.find(program)
        if where is None:
            return Finding("missing", "not installed", apt_line_for(program))
        return Finding("ok", where)

    return examine


for _name, _use in PROGRAMS.items():
    check(_name, "programs", needed_for=_use)(_find(_name))


@check("vagrant", "programs", needed_for="the vagrant lab; no other lab uses it")
def check_vagrant(machine: Machine) -> Finding:
    where = machine.find("vagrant")
    if where is None:
        hint = (
            "apt-get install vagrant vagrant-libvirt, or take it and VirtualBox from their makers"
        )
        return Finding("missing", "not installed", hint)
    return Finding("ok", where)
