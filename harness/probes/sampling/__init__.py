"""What probes sample with: from which place, by which protocol, and against which clock.

Nothing is imported here, as in :mod:`harness.probes`, and for the same reason.
"""
