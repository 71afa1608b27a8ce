"""Probes: what samples a swarm without disturbing it more than it must."""

from harness.probes.leadership import Leadership, View, views_in

__all__ = ["Leadership", "View", "views_in"]
