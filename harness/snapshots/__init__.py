"""Frozen swarms: the microVM lab's snapshots with a swarm in them, and trials sent into them.

All of it is the host's. Names are imported from the modules that have them.
"""
