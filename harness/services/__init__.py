"""Outside services: real servers on the lab's fabric, at places of their own, that can go wrong."""

from harness.services.base import Contact, ExternalService
from harness.services.gelf_sink import GelfSink
from harness.services.name_server import NameServer, Resolved
from harness.services.registry import Registry, Reply
from harness.services.services import ServiceAssets, Services

__all__ = [
    "Contact",
    "ExternalService",
    "GelfSink",
    "NameServer",
    "Registry",
    "Reply",
    "Resolved",
    "ServiceAssets",
    "Services",
]
