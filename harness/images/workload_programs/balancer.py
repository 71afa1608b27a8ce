"""Write nginx's configuration from the environment, then become nginx.

Environment: UPSTREAM (service name or address, must be given), UPSTREAM_PORT (8000), PORT (8080),
RESOLVER (127.0.0.11, Docker's), NODE_NAME (the node's name for ``X-Balancer``; else the host
name).
"""

# importing pathlib takes longer than all the rest here
# ruff: noqa: PTH118, PTH120, PTH123
import os
import re
import socket
import sys

TEMPLATE = os.path.join(os.path.dirname(__file__), "balancer.conf")
CONFIG = "/run/nginx.conf"
_WORD = re.compile(r"[A-Za-z0-9._:-]+")


def render(template: str, environment: dict[str, str], hostname: str) -> str:
    """nginx's configuration; ``ValueError`` for a value that nginx might take for syntax."""
    values = {
        "UPSTREAM": environment.get("UPSTREAM", ""),
        "UPSTREAM_PORT": environment.get("UPSTREAM_PORT", "8000"),
        "PORT": environment.get("PORT", "8080"),
        "RESOLVER": environment.get("RESOLVER", "127.0.0.11"),
        "BALANCER": environment.get("NODE_NAME") or hostname,
    }
    for name, value in values.items():
        if not _WORD.fullmatch(value):
            raise ValueError(f"{name}={value!r} is not a name, an address or a number")
        template = template.replace(f"@{name}@", value)
    return template


def main() -> int:
    """Become nginx; returns only to say 64: the environment does not allow it."""
    with open(TEMPLATE) as file:
        template = file.read()
    try:
        config = render(template, dict(os.environ), socket.gethostname())
    except ValueError as error:
        print(f"balancer: {error}", file=sys.stderr)
        return 64
    with open(CONFIG, "w") as file:
        file.write(config)
    return os.execv("/usr/sbin/nginx", ["nginx", "-c", CONFIG])


if __name__ == "__main__":
    sys.exit(main())
