"""Probes: what samples a swarm without disturbing it more than it must.

Each has a module of its own and is imported from there, by the fixture that gives it or by the
scenario: a guest is emulated, and importing all of them would take it a tenth of a second.
"""
