"""A machine of our own: boot a kernel, freeze it, thaw it with a payload, bring back a folder.

    image = GuestImage(base_tar(cache), debian_kernel("trixie", cache), requirements, constraints)
    snapshot = freeze(FreezeSpec(image, ["python3", "agent.py"], payload), cache)
    with Pool().slot() as cpu, thaw(snapshot, code, {"x": 1}, seed=7, ...) as guest:
        result = guest.wait(folder, wall_deadline=600)

Knows nothing of Docker or of tests. In the guest ``agent.py`` calls
:func:`harness.vm.guest_init.serve`.
"""

from harness.vm.guest_image import BuiltImage, GuestImage, base_tar
from harness.vm.kvm import KvmVerdict, kvm_boots
from harness.vm.machine import KVM_CPU, MOST_CPUS, Accelerator, Clock, Machine
from harness.vm.mailbox import pack, pack_folder
from harness.vm.pool import Pool
from harness.vm.qemu_binary import Qemu, own_qemu, provide_qemu, qemu_at_hand
from harness.vm.snapshot import FreezeSpec, Snapshot, freeze, prune, snapshots
from harness.vm.thaw import Guest, GuestResult, Outcome, thaw

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
