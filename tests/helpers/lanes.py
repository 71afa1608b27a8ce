"""Which tests may run beside which, when pytest-xdist runs them in more processes than one.

Nodes are this kernel's: tests that make them look at the host before and after, and measure in
real time, so there is one lane for all of them. Guests are indifferent to what runs beside them,
but cost a CPU, so they are another. All the rest goes by files to whichever process is free.
"""

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

INTEGRATION = "tests/integration/"

#: Files of integration tests that change nothing of the host's: guests, images, a compiler.
GUESTS = frozenset({
    "test_engine_roots",
    "test_snapshots_payload",
    "test_images_debian",
    "test_images_debian_qemu",
    "test_vm_guest",
    "test_vm_lockstep",
    "test_vm_overlay",
    "test_vm_without_root",
    "test_vm_worker_killed",
    "test_snapshots_visit",
})  # fmt: skip


def lane_of(nodeid: str) -> str:
    """What a test has to run in turn with: a lane's name, or its file's."""
    file = nodeid.partition("::")[0]
    if not file.startswith(INTEGRATION):
        return file
    return "guests" if PurePosixPath(file).stem in GUESTS else "nodes"


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """One process per lane, the lanes in the order in which their first tests come."""

    def _split_scope(self, nodeid: str) -> str:
        return lane_of(nodeid)
