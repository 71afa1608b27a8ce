"""Parts of the external services that need no lab: secrets, addresses, what lies where."""

from __future__ import annotations

import ctypes
import ssl
import subprocess
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.services.base import ExternalService
from harness.services.credentials import certificate_for, write_passwords


def test_a_certificate_is_for_its_names_and_addresses(tmp_path: Path) -> None:
    made = certificate_for(tmp_path, ["registry.test", "other.test"], ["198.18.0.1"])
    shown = subprocess.run(
        ["openssl", "x509", "-in", made.certificate, "-noout", "-ext", "subjectAltName"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "DNS:registry.test, DNS:other.test, IP Address:198.18.0.1" in shown
    assert made.key.stat().st_mode & 0o777 == 0o600
    ssl.create_default_context(cafile=str(made.certificate))


def test_passwords_are_hashed_with_bcrypt_and_salted(tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    write_passwords(file, {"a": "one", "b": "one"})
    lines = dict(line.split(":") for line in file.read_text().splitlines())
    assert lines["a"] != lines["b"]
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    for hashed in lines.values():
        assert hashed.startswith("$2b$04$")
        assert crypt(b"one", hashed.encode()).decode() == hashed
        assert crypt(b"two", hashed.encode()).decode() != hashed
    write_passwords(file, {"a": "two"})
    assert "b:" not in file.read_text()


def test_a_service_moves_beyond_the_nodes() -> None:
    assert ExternalService.address_elsewhere("198.18.0.3") == "198.18.0.203"
    with pytest.raises(UsageError, match="no other address"):
        ExternalService.address_elsewhere("198.18.0.60")
