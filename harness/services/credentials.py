"""What a registry needs to be trusted and to authenticate: a certificate and a password file."""

from __future__ import annotations

import ctypes
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import LabError, MissingError
from harness.files import write_atomically

_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

#: bcrypt's lowest cost: docker-registry computes it again for every request.
_COST = "$2b$04$"


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate and its key, in PEM files. It is its own authority."""

    certificate: Path
    key: Path


def certificate_for(folder: Path, names: Sequence[str], addresses: Sequence[str]) -> Certificate:
    """Make a certificate for names and addresses, valid for ten years from now, by openssl."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    meant = [*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses)]
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "3650", "-subj", f"/CN={names[0]}"),
        *("-addext", f"subjectAltName={','.join(meant)}"),
        *("-keyout", str(made.key), "-out", str(made.certificate)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise MissingError(
            "a registry's certificate is made by openssl, which is not on this machine",
            hint="apt-get install openssl",
        ) from None
    if done.returncode:
        raise LabError(f"openssl could not make a certificate: {done.stderr.strip()[-300:]}")
    made.key.chmod(0o600)
    return made


def write_passwords(file: Path, passwords: Mapping[str, str]) -> None:
    """Write passwords by user name as Apache's htpasswd would, hashed with bcrypt."""
    lines = (f"{user}:{_bcrypt(password)}\n" for user, password in sorted(passwords.items()))
    write_atomically(file, "".join(lines))


def _bcrypt(password: str) -> str:
    # libc's own crypt(3), which every Debian has; Python's module for it is gone from 3.13 on.
    try:
        library = ctypes.CDLL("libcrypt.so.1")
    except OSError as error:
        raise MissingError(
            f"passwords are hashed by libcrypt: {error}", hint="apt-get install libcrypt1"
        ) from error
    library.crypt.restype = ctypes.c_char_p
    salt = _COST + "".join(secrets.choice(_ALPHABET) for _ in range(21)) + "."
    hashed: bytes | None = library.crypt(password.encode(), salt.encode())
    if hashed is None or not hashed.startswith(_COST.encode()):
        raise MissingError("this machine's libcrypt has no bcrypt")
    return hashed.decode()
