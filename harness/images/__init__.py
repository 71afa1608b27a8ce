"""Root file systems, kernels, QEMU, workload images: from Debian packages, verified, cached.

The names here are those that nodes come up with. What only the host needs (QEMU, kernels, the
registry's program) is imported from its module, so that it keys no snapshot.
"""

from harness.images.cache import Cache, Entry, Manifest, Part, Say, silent
from harness.images.debian import (
    DebianBuild,
    DebianRecipe,
    extracted_tar,
    installed_packages,
    root_tar,
    root_tree,
)
from harness.images.workload_images import WORKLOAD_TAGS, workload_archive

__all__ = [
    "WORKLOAD_TAGS",
    "Cache",
    "DebianBuild",
    "DebianRecipe",
    "Entry",
    "Manifest",
    "Part",
    "Say",
    "extracted_tar",
    "installed_packages",
    "root_tar",
    "root_tree",
    "silent",
    "workload_archive",
]
