"""A machine of our own: boot a kernel, freeze it, thaw it with a payload, bring back a folder.

    image = GuestImage(base_tar(cache), debian_kernel("trixie", cache), requirements, constraints)
    snapshot = freeze(FreezeSpec(image, ["python3", "agent.py"], payload), cache)
    with Pool().slot() as cpu, thaw(snapshot, code, {"x": 1}, seed=7, ...) as guest:
        result = guest.wait(folder, wall_deadline=600)

Knows nothing of Docker or of tests. In the guest ``agent.py`` calls
:func:`harness.microvm.guest.serve`.
"""

from harness.microvm.boxes import pack, pack_folder
from harness.microvm.guestimage import BuiltImage, GuestImage, base_tar
from harness.microvm.kvm import KvmVerdict, kvm_boots
from harness.microvm.machine import KVM_CPU, MOST_CPUS, Accelerator, Clock, Machine
from harness.microvm.pool import Pool
from harness.microvm.qemu import Qemu, own_qemu, provide_qemu, qemu_at_hand
from harness.microvm.snapshot import FreezeSpec, Snapshot, freeze, prune, snapshots
from harness.microvm.thaw import Guest, GuestResult, Outcome, thaw

__all__ = [
    "KVM_CPU",
    "MOST_CPUS",
    "Accelerator",
    "BuiltImage",
    "Clock",
    "FreezeSpec",
    "Guest",
    "GuestImage",
    "GuestResult",
    "KvmVerdict",
    "Machine",
    "Outcome",
    "Pool",
    "Qemu",
    "Snapshot",
    "base_tar",
    "freeze",
    "kvm_boots",
    "own_qemu",
    "pack",
    "pack_folder",
    "provide_qemu",
    "prune",
    "qemu_at_hand",
    "snapshots",
    "thaw",
]
