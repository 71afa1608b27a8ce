"""The checks. Importing them registers them, in the order in which they are shown."""

from harness.doctor.checks import machine, kernel, programs, docker, microvm, sources  # noqa: F401, I001
