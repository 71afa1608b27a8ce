"""Ask another service, by its name in the stack's network."""

import socket

PORT = 8000


class Unreachable(Exception):
    """The service did not answer, or not as it should."""


def ask(service: str, method: str, path: str, body: bytes = b"", timeout: float = 3.0) -> bytes:
    """Return the body of the answer; :class:`Unreachable` unless it is 200."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {service}\r\nContent-Length: {len(body)}\r\n"
    try:
        with socket.create_connection((service, PORT), timeout=timeout) as connection:
            connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)
            answer = b""
            while received := connection.recv(65536):
                answer += received
    except OSError as error:
        raise Unreachable(f"{service}: {error}") from error
    first, _, rest = answer.partition(b"\r\n")
    if b" 200 " not in first:
        raise Unreachable(f"{service} answers {first.decode(errors='replace') or 'nothing'}")
    return rest.partition(b"\r\n\r\n")[2]
