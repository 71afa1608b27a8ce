"""``swarm-chaos shell``: a person, or a script, in a thawed guest."""

from harness.shell.session import Order, Visit, visit
from harness.shell.terminal import Terminal

__all__ = ["Order", "Terminal", "Visit", "visit"]
