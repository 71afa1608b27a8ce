"""Ask for names again and again, in both ways a program may: libc's and a DNS query of its own.

``GET :8002/`` tells the last answers. ``python3 -m workload.resolver NAME...`` asks once, prints
the same JSON and ends with 0 if every name had an address, else with 1.

Environment: NAMES (separated by commas or blanks), INTERVAL (seconds, 1), PORT (8002).
"""

# importing pathlib takes longer than all the rest here
# ruff: noqa: PTH123
import json
import os
import socket
import struct
import sys
import threading
import time

from .httpd import Request, Response, Server, as_json, serve_until_told

_QUERY_SECONDS = 2.0
_TYPE_A = 1
_CLASS_IN = 1


def ask_libc(name: str) -> dict[str, object]:
    """IPv4 addresses by getaddrinfo: ``{"addresses", "error", "seconds"}``."""
    began = time.monotonic()
    error = None
    found: set[str] = set()
    try:
        answers = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
        found = {str(answer[4][0]) for answer in answers}
    except OSError as problem:
        error = problem.strerror or str(problem)
    return {
        "addresses": sorted(found),
        "error": error,
        "seconds": time.monotonic() - began,
    }


def ask_dns(name: str, server: str, *, port: int = 53, number: int = 0) -> dict[str, object]:
    """A records from ``server`` over UDP: ``{"addresses", "ttl", "rcode", "error", "seconds"}``.

    ``addresses`` keep the server's order, ``ttl`` is the smallest; both are empty without answer.
    """
    began = time.monotonic()
    answer: dict[str, object] = {"addresses": [], "ttl": None, "rcode": None, "error": None}
    number = number or (time.monotonic_ns() & 0xFFFF)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect((server, port))
            udp.send(encode_query(name, number))
            while True:
                udp.settimeout(max(0.001, began + _QUERY_SECONDS - time.monotonic()))
                packet = udp.recv(4096)
                if len(packet) >= 12 and packet[:2] == struct.pack("!H", number):
                    break
        rcode, addresses, ttl = decode_answer(packet)
        answer.update(addresses=addresses, ttl=ttl, rcode=rcode)
    except TimeoutError:
        answer["error"] = f"no answer within {_QUERY_SECONDS:g} s"
    except (OSError, ValueError) as problem:
        answer["error"] = str(problem)
    answer["seconds"] = time.monotonic() - began
    return answer


def encode_query(name: str, number: int) -> bytes:
    """A recursive query for ``name``'s A records; ``ValueError`` for a name DNS cannot carry."""
    packet = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0)
    for label in name.rstrip(".").split("."):
        data = label.encode("ascii")
        if not 0 < len(data) < 64:
            raise ValueError(f"{name!r} is no name that DNS can carry")
        packet += bytes([len(data)]) + data
    return packet + b"\0" + struct.pack("!HH", _TYPE_A, _CLASS_IN)


def decode_answer(packet: bytes) -> tuple[int, list[str], int | None]:
    """(rcode, addresses in order, smallest ttl); ``ValueError`` for a packet that is no answer."""
    try:
        _, flags, questions, answers, _, _ = struct.unpack_from("!HHHHHH", packet)
        if not flags & 0x8000:
            raise ValueError("the packet is a question")
        at = 12
        for _ in range(questions):
            at = _after_name(packet, at) + 4
        addresses, ttls = [], []
        for _ in range(answers):
            at = _after_name(packet, at)
            kind, where, ttl, length = struct.unpack_from("!HHIH", packet, at)
            data = packet[at + 10 : at + 10 + length]
            if (kind, where, len(data)) == (_TYPE_A, _CLASS_IN, 4):
                addresses.append(socket.inet_ntoa(data))
                ttls.append(ttl)
            at += 10 + length
    except (struct.error, IndexError):
        raise ValueError("the packet is cut short") from None
    return flags & 0xF, addresses, min(ttls, default=None)


def name_servers(resolv_conf: str) -> list[str]:
    """The name servers in the text of a resolv.conf."""
    lines = (line.split() for line in resolv_conf.splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def ask(name: str) -> dict[str, object]:
    """Both answers for ``name``, and when (monotonic seconds) they were asked for."""
    at = time.monotonic()
    with open("/etc/resolv.conf") as file:
        servers = name_servers(file.read())
    dns = ask_dns(name, servers[0]) if servers else {"addresses": [], "error": "no nameserver"}
    return {"at": at, "libc": ask_libc(name), "dns": dns}


def _after_name(packet: bytes, at: int) -> int:
    while packet[at]:
        if packet[at] & 0xC0:
            return at + 2
        at += 1 + packet[at]
    return at + 1


def main(arguments: list[str]) -> int:
    """Once for the names given, or until told to stop for those in NAMES."""
    if arguments:
        answers = {name: ask(name) for name in arguments}
        print(json.dumps(answers))
        return 0 if all(answer["libc"]["addresses"] for answer in answers.values()) else 1  # type: ignore[index]
    names = os.environ.get("NAMES", "").replace(",", " ").split()
    interval = float(os.environ.get("INTERVAL", "1"))
    last: dict[str, object] = {}
    rounds = 0

    def ask_forever() -> None:
        nonlocal rounds
        while True:
            for name in names:
                last[name] = ask(name)
            rounds += 1
            time.sleep(interval)

    def handle(_request: Request) -> Response:
        return as_json({"now": time.monotonic(), "rounds": rounds, "names": dict(last)})

    server = Server(int(os.environ.get("PORT", "8002")), handle)
    threading.Thread(target=ask_forever, daemon=True).start()
    return serve_until_told(server)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
