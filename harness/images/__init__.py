"""Root file systems, kernels, QEMU, workload images: from Debian packages, verified, cached."""

from harness.images.cache import Cache, Entry, Manifest, Part, Say, silent
from harness.images.debian import (
    DebianBuild,
    DebianRecipe,
    extracted_tar,
    installed_packages,
    root_tar,
    root_tree,
)
from harness.images.debian_qemu import DebianQemu, debian_qemu
from harness.images.kernel import DebianKernel, debian_kernel
from harness.images.registry import RegistryProgram, registry_program
from harness.images.workload_images import WORKLOAD_TAGS, workload_archive

__all__ = [
    "WORKLOAD_TAGS",
    "Cache",
    "DebianBuild",
    "DebianKernel",
    "DebianQemu",
    "DebianRecipe",
    "Entry",
    "Manifest",
    "Part",
    "RegistryProgram",
    "Say",
    "debian_kernel",
    "debian_qemu",
    "extracted_tar",
    "installed_packages",
    "registry_program",
    "root_tar",
    "root_tree",
    "silent",
    "workload_archive",
]
