"""What the battery is asked: which stack, where its users enter, what is expected for them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.errors import UsageError


class Question(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The contents of a battery's ``asked.json``.

    ``entry`` is the service that users ask at ``port`` of every node; None if none can be asked.
    ``users`` None is two for each node and kind of connections. ``lost`` is the share of requests
    that may be lost at nodes that live, ``back`` the seconds until every task runs again after a
    fault, ``held`` the seconds that a fault lasts and that users are watched after it; None is as
    each experiment has it.
    ``not_applicable`` has the experiments that this stack cannot be put to, with the reason.
    """

    name: str
    entry: str | None
    port: int | None
    path: str
    users: int | None
    lost: float
    back: float
    held: float | None
    not_applicable: dict[str, str]

    def json(self) -> bytes:
        """Return it as it is written beside the scenario."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def read_question(path: Path) -> Question:
    """Return what was written to ``path``; :class:`UsageError` if that cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Question)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"{path} is not what `swarm-chaos try` writes: {error}", hint="have it written again"
        ) from error
