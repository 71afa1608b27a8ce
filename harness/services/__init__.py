"""External services: real servers on the lab's fabric, at places of their own, that can go wrong.

Names are imported from their modules. Whatever this file imports, each server's program would
import when it starts (``python -m harness.services.servers.gelf_sink``), in a guest too.
"""
