"""Root file systems, kernels and workload images: built from Debian packages, verified, cached."""

from harness.images.cache import Cache, Entry, Manifest, Part, Say, silent
from harness.images.debian import (
    DebianBuild,
    DebianRecipe,
    extracted_tar,
    installed_packages,
    root_tar,
    root_tree,
)

__all__ = [
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
]
