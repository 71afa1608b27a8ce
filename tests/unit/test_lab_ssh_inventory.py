"""What an inventory may say, and what is said of one that cannot be meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.lab.ssh.inventory import MachineSpec, inventory_of, read_inventory

TWO = """
user = "root"
port = 2222
known-hosts = "known"

[[machine]]
name = "rack1"
address = "rack1.example.org"
fabric-address = "10.1.0.11"
key = "own"

[[machine]]
name = "rack2"
address = "10.1.0.12"
port = 22
user = "chaos"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("known", "own"):
        (tmp_path / name).touch()
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "hosts.toml"
    path.write_text(text)
    return path


def test_what_stands_at_the_head_holds_for_each_that_does_not_say_otherwise(folder: Path) -> None:
    inventory = read_inventory(written(folder, TWO))
    known = folder / "known"
    assert inventory.machines == (
        MachineSpec(
            *("rack1", "rack1.example.org", "10.1.0.11", "root", 2222, folder / "own", known)
        ),
        MachineSpec("rack2", "10.1.0.12", None, "chaos", 22, None, known),
    )
    assert str(inventory.folder) == "/var/lib/swarm-chaos"


UNFIT = [
    ("", "it lists no machine"),
    ("machine = 1", "Expected `array`"),
    ("[[machine]]\nname = 'a'", "missing required field `address`"),
    ("[[machine]\n", "Expected"),
    (TWO + "adress = 'x'", "unknown field `adress`"),
    (TWO.replace("rack2", "rack1"), "two machines have one name: rack1"),
    (TWO.replace("10.1.0.12", "rack1.example.org").replace("port = 22\n", ""), "one address"),
    (TWO.replace('"10.1.0.11"', '"fe80::1"'), "'fe80::1' is not an IPv4 address"),
    (TWO.replace("port = 22\n", "port = 70000\n"), "machine rack2: port: 70000 is not a port"),
    (TWO.replace('"10.1.0.12"', '"-oProxyCommand=x"'), "neither an address nor a user"),
    (TWO.replace('"chaos"', '"a;b"'), "neither an address nor a user"),
    (TWO.replace('"own"', '"other"'), "machine rack1: key = 'other' is not a file"),
    (TWO.replace('name = "rack1"', 'name = "../x"'), "'../x' is not a valid name"),
    ("folder = '/'\n" + TWO, "folder = '/' is not the path of a folder"),
    ("folder = 'x/../..'\n" + TWO, "is not the path of a folder"),
    ("controller-address = 'me'\n" + TWO, "controller-address: 'me' is not an IPv4 address"),
]


@pytest.mark.parametrize(("text", "sentence"), UNFIT, ids=[sentence for _, sentence in UNFIT])
def test_what_cannot_be_meant_is_said(folder: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_inventory(written(folder, text))
    assert sentence in refused.value.what
    assert "hosts.toml" in refused.value.what


def test_a_file_that_is_not_there_or_not_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the inventory"):
        read_inventory(tmp_path / "none.toml")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is not text"):
        read_inventory(path)


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_value_makes_an_option_of_ssh(address: str, user: str) -> None:
    text = f"[[machine]]\nname = 'a'\naddress = {json.dumps(address)}\nuser = {json.dumps(user)}"
    try:
        (machine,) = inventory_of(text, Path("/hosts.toml")).machines
    except UsageError:
        return
    for word in (machine.address, machine.user or "x"):
        assert not word.startswith("-")
        assert not set(word) & set(" \t\n;|&$`\"'\\")
