"""A chaos and fault-injection test harness for Docker Swarm.

Scenarios import what they need from the packages' public names (``harness.swarm``,
``harness.faults``, ...); see ``docs/architecture.md`` for which package may import which.
"""

__version__ = "0.1.0.dev0"
