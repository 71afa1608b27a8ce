"""What a node's processes may do to the host's devices and sysctls: nearly nothing.

A node in the namespaces lab is root on the host's own kernel. Two small BPF programs on the node's
group in the unified hierarchy refuse what no engine needs: opening devices other than the handful
of a container's, and writing sysctls that belong to no namespace. They hold for every process in
the group, a privileged container with a fresh /proc and /dev too, and end with the group.

They are no wall for root who is set on getting out, who can still load modules and write to
/sys: see SECURITY.md.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

#: Character devices that may be opened, by (major, minor): null, zero, full, random, urandom;
#: tty, console, ptmx; net/tun, by which encrypted and user-mode networks work.
DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (10, 200))

#: Majors of pseudo-terminals.
TERMINALS = range(136, 144)

#: Sysctls that belong to network, UTS and IPC namespaces, by the beginning of their path.
SYSCTLS = (
    *("net/", "kernel/hostname", "kernel/domainname"),
    *("kernel/shm", "kernel/msg", "kernel/sem", "fs/mqueue/"),
)

# From linux/bpf.h; the call's number is x86-64's, the only architecture there are engines of.
_SYS_BPF = 321
_PROG_LOAD, _PROG_ATTACH = 5, 8
_PROGRAM_DEVICE, _PROGRAM_SYSCTL = 15, 23
_ATTACH_DEVICE, _ATTACH_SYSCTL = 6, 18
_ALLOW_MULTI = 2
_SYSCTL_GET_NAME = 101
_MKNOD, _CHARACTER = 1, 2
_BUFFER = 64  # bytes of a sysctl's name that are looked at

_LDX = {1: 0x71, 2: 0x69, 4: 0x61}
_AND, _RSH, _MOV, _MOV_REGISTER, _ADD = 0x57, 0x77, 0xB7, 0xBF, 0x07
_STORE_8, _JUMP_UNEQUAL, _CALL, _EXIT = 0x7A, 0x55, 0x85, 0x95


def filter_group(group: Path) -> bool:
    """Put the filters on a group of the unified hierarchy; return whether the kernel takes them.

    It must know them (5.2, CONFIG_CGROUP_BPF), and root must be root of the machine.
    """
    programs = (
        (_PROGRAM_DEVICE, _ATTACH_DEVICE, _devices()),
        (_PROGRAM_SYSCTL, _ATTACH_SYSCTL, _sysctls()),
    )
    descriptor = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for kind, attach, program in programs:
            loaded = _load(kind, attach, program)
            try:
                _bpf(_PROG_ATTACH, struct.pack("IIII", descriptor, loaded, attach, _ALLOW_MULTI))
            finally:
                os.close(loaded)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _devices() -> bytes:
    """Context: u32 (access << 16 | type), u32 major, u32 minor. Making a node harms nobody."""
    code = [
        _instruction(_LDX[4], 2, 1, 0),
        _instruction(_LDX[4], 3, 1, 4),
        _instruction(_LDX[4], 4, 1, 8),
        _instruction(_MOV_REGISTER, 5, 2),
        _instruction(_RSH, 5, value=16),
        *_allow_if([(5, _MKNOD)]),
        _instruction(_AND, 2, value=0xFFFF),
    ]
    for major, minor in DEVICES:
        code += _allow_if([(2, _CHARACTER), (3, major), (4, minor)])
    for major in TERMINALS:
        code += _allow_if([(2, _CHARACTER), (3, major)])
    return b"".join([*code, *_answer(0)])


def _sysctls() -> bytes:
    """Context: u32 whether it is a write. The name is fetched into a buffer on the stack."""
    code = [
        _instruction(_MOV_REGISTER, 6, 1),
        _instruction(_LDX[4], 2, 1, 0),
        *_allow_if([(2, 0)]),
        *(_instruction(_STORE_8, 10, offset=at - _BUFFER) for at in range(0, _BUFFER, 8)),
        _instruction(_MOV_REGISTER, 1, 6),
        _instruction(_MOV_REGISTER, 2, 10),
        _instruction(_ADD, 2, value=-_BUFFER),
        _instruction(_MOV, 3, value=_BUFFER),
        _instruction(_MOV, 4),
        _instruction(_CALL, value=_SYSCTL_GET_NAME),
    ]
    for prefix in SYSCTLS:
        code += _allow_if_named(prefix.encode())
    return b"".join([*code, *_answer(0)])


def _allow_if(wanted: Iterable[tuple[int, int]]) -> list[bytes]:
    """Return instructions that end with "allowed" if each register has its value."""
    tests = list(wanted)
    jumps = [
        _instruction(_JUMP_UNEQUAL, register, offset=len(tests) - number + 1, value=value)
        for number, (register, value) in enumerate(tests)
    ]
    return [*jumps, *_answer(1)]


def _allow_if_named(prefix: bytes) -> list[bytes]:
    """Return instructions that end with "allowed" if the buffer begins with ``prefix``."""
    pieces, at = [], 0
    while at < len(prefix):
        size = next(size for size in (4, 2, 1) if at + size <= len(prefix))
        value = int.from_bytes(prefix[at : at + size], "little")
        pieces.append((size, at, value))
        at += size
    code = []
    for number, (size, offset, value) in enumerate(pieces):
        after = 2 * (len(pieces) - number - 1) + 2
        code += [
            _instruction(_LDX[size], 2, 10, offset - _BUFFER),
            _instruction(_JUMP_UNEQUAL, 2, offset=after, value=value),
        ]
    return [*code, *_answer(1)]


def _answer(value: int) -> list[bytes]:
    return [_instruction(_MOV, 0, value=value), _instruction(_EXIT)]


def _instruction(
    code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0
) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | target, offset, value)


def _load(kind: int, attach: int, program: bytes) -> int:
    """Load a program and return its descriptor."""
    code, license_ = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "IIQQIIQII16sII",
        *(kind, len(program) // 8, ctypes.addressof(code), ctypes.addressof(license_)),
        *(0, 0, 0, 0, 0, b"", 0, attach),
    )
    return _bpf(_PROG_LOAD, attributes)


def _bpf(command: int, attributes: bytes) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, max(len(attributes), 128))
    result = int(library.syscall(_SYS_BPF, command, buffer, len(buffer)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
