"""Output of iptables-save: its rules, the same tables emptied, two outputs merged."""

from __future__ import annotations

from collections.abc import Iterable

#: The chains that a kernel makes, and that have a policy.
_BUILT_IN = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")


def rules_in(text: str) -> frozenset[tuple[str, str]]:
    """Return the rules, each with its table."""
    return frozenset(
        (table, line) for table, lines in _tables(text).items() for line in lines if _is_rule(line)
    )


def emptied(text: str) -> str:
    """Return the same tables without rules and own chains, all policies ACCEPT (to restore)."""
    return _written(
        {
            table: [f":{chain} ACCEPT [0:0]" for chain in _chains(lines) if chain in _BUILT_IN]
            for table, lines in _tables(text).items()
        }
    )


def policies_in(text: str) -> frozenset[tuple[str, str]]:
    """Return the policies other than ACCEPT, each with its table: ``("nat", ":INPUT DROP")``."""
    return frozenset(
        (table, " ".join(line.split()[:2]))
        for table, lines in _tables(text).items()
        for line in lines
        if line.startswith(":") and line.split()[1] not in ("ACCEPT", "-")
    )


def only_policies(text: str) -> str:
    """Return the policies that are not ACCEPT, to restore with ``--noflush``."""
    tables: dict[str, list[str]] = {}
    for table, policy in sorted(policies_in(text)):
        tables.setdefault(table, []).append(f"{policy} [0:0]")
    return _written(tables)


def merged(saved: str, present: str) -> str:
    """Return all of ``saved`` and, before it, chain by chain, what only ``present`` has.

    Before it, because dockerd inserts its rules at the head, and its chains may end with RETURN.
    """
    before, now = _tables(saved), _tables(present)
    result = {}
    for table in dict.fromkeys([*before, *now]):
        old, new = before.get(table, []), now.get(table, [])
        known = set(_chains(old))
        chains = [line for line in old if line.startswith(":")]
        chains += [line for line in new if line.startswith(":") and _chain(line) not in known]
        added = [line for line in new if _is_rule(line) and line not in old]
        result[table] = [*chains, *added, *(line for line in old if _is_rule(line))]
    return _written(result)


def _tables(text: str) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
            tables[table] = []
        elif table and line.startswith((":", "-A ")):
            tables[table].append(line)
    return tables


def _written(tables: dict[str, list[str]]) -> str:
    parts = ["\n".join([f"*{table}", *lines, "COMMIT"]) for table, lines in tables.items()]
    return "\n".join([*parts, ""])


def _chains(lines: Iterable[str]) -> list[str]:
    return [_chain(line) for line in lines if line.startswith(":")]


def _chain(line: str) -> str:
    return line[1:].split()[0]


def _is_rule(line: str) -> bool:
    return line.startswith("-A ")
