"""The small programs inside the workload images.

They run in containers under Debian's python3-minimal, often on an emulated 500 MIPS machine:
standard library only, few imports, no polling. :mod:`harness.images.workload_images` packs them.
"""
