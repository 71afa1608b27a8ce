"""A service that sends back what it gets, over UDP and TCP, IPv4 and IPv6, and says who it is.

It is for traffic that is not short HTTP requests over IPv4: flows of datagrams and connections
that live long. Answers are a line, ``TASK PAYLOAD``. It needs no image of its own.
"""

from __future__ import annotations

from typing import Any

from harness.swarm import APP_IMAGE, Service

ECHO_PORT = 7007

# Signals are blocked before any thread starts, so that only sigwait gets them. A process that ends
# closes its connections, in order: the peer is told.
_PROGRAM = """
import os, signal, socket, socketserver, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
me = os.environ["TASK_NAME"].encode()
there = socket.has_dualstack_ipv6()

class Line(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(me + b" " + line)

class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, back = self.request
        back.sendto(me + b" " + data, self.client_address)

class Both:
    address_family = socket.AF_INET6 if there else socket.AF_INET
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        if there:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

class Lines(Both, socketserver.ThreadingTCPServer): pass
class Datagrams(Both, socketserver.UDPServer): pass

at = ("::" if there else "0.0.0.0", ECHO_PORT)
for server in (Lines(at, Line), Datagrams(at, Datagram)):
    threading.Thread(target=server.serve_forever, args=(60,), daemon=True).start()
signal.sigwait({signal.SIGTERM, signal.SIGINT})
"""


def echo_service(name: str = "echo", **described: Any) -> Service:
    """Return a service of the echo program on :data:`ECHO_PORT`; ``described`` is the rest of it.

    ``echo_service(networks=("web",), replicas=2, ports=(Port(ECHO_PORT, 9007, "udp"),))``
    """
    program = _PROGRAM.replace("ECHO_PORT", str(ECHO_PORT))
    command = ("/usr/bin/python3", "-I", "-S", "-c", program)
    return Service(name, APP_IMAGE, command=command, **described)
