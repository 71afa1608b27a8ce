"""The machines of an ssh lab, as a TOML file lists them.

::

    user = "root"                       # what holds for each machine that does not say otherwise

    [[machine]]
    name = "rack1"
    address = "rack1.example.org"       # for ssh
    fabric-address = "10.1.0.11"        # where the other machines reach it; else what ssh reached

The topology decides what each machine is: the first one is ``m1``, and so on in the file's order.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path

import msgspec

from harness.errors import UsageError

#: Above what an ordinary user may bind, and not what Swarm (4789) or Linux (8472) take for VXLAN.
_FABRIC_PORT = 14789

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

#: No word that ssh would take for an option, nor one that a shell would read.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:%-]*")


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """One machine as the file has it."""

    name: str
    address: str
    fabric_address: str | None = None
    user: str | None = None
    port: int | None = None
    key: str | None = None
    known_hosts: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    machine: tuple[Listed, ...] = ()
    user: str | None = None
    port: int | None = None
    key: str | None = None
    known_hosts: str | None = None
    folder: str = "/var/lib/swarm-chaos"
    fabric_port: int = _FABRIC_PORT
    controller_address: str | None = None


class MachineSpec(msgspec.Struct, frozen=True):
    """How one machine is reached. None: as ssh's own configuration has it."""

    name: str
    address: str
    fabric_address: str | None = None
    """Its IPv4 address for the other machines; None: the one that ssh reaches it at."""
    user: str | None = None
    port: int | None = None
    key: Path | None = None
    known_hosts: Path | None = None


class Inventory(msgspec.Struct, frozen=True):
    """Machines, and what holds for all of them."""

    machines: tuple[MachineSpec, ...]
    folder: Path
    """Where engines, images and labs are kept on each machine."""
    fabric_port: int
    """UDP port of the tunnels between the machines."""
    controller_address: str | None = None
    """This machine's IPv4 address for the others; None: the one from which it reaches the first."""


def read_inventory(path: Path) -> Inventory:
    """Return what an inventory lists; :class:`UsageError` where it cannot be meant."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(
            f"cannot read the inventory {path}: {why}", hint="docs/labs.md has an example"
        ) from error
    return inventory_of(text, path)


def inventory_of(text: str, path: Path) -> Inventory:
    """Return what the text of the file at ``path`` lists; :class:`UsageError` as above."""
    try:
        return _checked(msgspec.convert(tomllib.loads(text), _File), path.parent)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, _Unfit) as error:
        raise UsageError(f"{path}: {error}", hint="docs/labs.md says what can be in it") from error


class _Unfit(ValueError):
    """What a file says cannot be meant."""


def _checked(file: _File, beside: Path) -> Inventory:
    if not file.machine:
        raise _Unfit("it lists no machine: write a [[machine]] table for each")
    folder = Path(file.folder)
    if not folder.is_absolute() or folder == Path("/") or ".." in folder.parts:
        raise _Unfit(f"folder = {file.folder!r} is not the path of a folder")
    _port("fabric-port", file.fabric_port)
    if file.controller_address is not None:
        _ipv4("controller-address", file.controller_address)
    machines = tuple(_machine(each, file, beside) for each in file.machine)
    _refuse_twins("name", [machine.name for machine in machines])
    _refuse_twins("address", [f"{m.address}:{m.port or ''}".rstrip(":") for m in machines])
    _refuse_twins("fabric-address", [m.fabric_address for m in machines if m.fabric_address])
    return Inventory(machines, folder, file.fabric_port, file.controller_address)


def _machine(listed: Listed, file: _File, beside: Path) -> MachineSpec:
    if not _NAME.fullmatch(listed.name):
        raise _Unfit(f"{listed.name!r} is not a valid name: letters, digits, '.', '_' and '-'")
    user, port = listed.user or file.user, listed.port or file.port
    for word in (listed.address, user):
        if word is not None and not _WORD.fullmatch(word):
            raise _Unfit(f"machine {listed.name}: {word!r} is neither an address nor a user")
    if port is not None:
        _port(f"machine {listed.name}: port", port)
    if listed.fabric_address is not None:
        _ipv4(f"machine {listed.name}: fabric-address", listed.fabric_address)
    return MachineSpec(
        name=listed.name,
        address=listed.address,
        fabric_address=listed.fabric_address,
        user=user,
        port=port,
        key=_file(listed.name, "key", listed.key or file.key, beside),
        known_hosts=_file(
            listed.name, "known-hosts", listed.known_hosts or file.known_hosts, beside
        ),
    )


def _file(machine: str, what: str, written: str | None, beside: Path) -> Path | None:
    """A file by a path that counts from the inventory's folder."""
    if written is None:
        return None
    path = (beside / Path(written).expanduser()).resolve()
    if not path.is_file():
        raise _Unfit(f"machine {machine}: {what} = {written!r} is not a file")
    if any(sign in str(path) for sign in ' "%$'):
        raise _Unfit(f"machine {machine}: {what}: ssh cannot be given the path {path}")
    return path


def _port(what: str, number: int) -> None:
    if not 0 < number < 65536:
        raise _Unfit(f"{what}: {number} is not a port")


def _ipv4(what: str, written: str) -> None:
    try:
        ipaddress.IPv4Address(written)
    except ValueError:
        raise _Unfit(f"{what}: {written!r} is not an IPv4 address") from None


def _refuse_twins(what: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise _Unfit(f"two machines have one {what}: {value}")
