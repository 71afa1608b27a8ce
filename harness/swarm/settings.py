"""What a swarm as a whole is set to: raft's snapshots, task history, heartbeats, certificates."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from harness.errors import UsageError

_NANO = 1_000_000_000


@dataclass(frozen=True)
class SwarmSettings:
    """Settings of a swarm; None leaves one as it is. Times are in seconds.

    ``snapshot_interval``: entries of raft's log between two snapshots (10,000 by default);
    ``kept_snapshots`` of the older ones, ``kept_entries`` after a snapshot for slow followers.
    ``task_history``: ended tasks that are remembered per slot or node (5).
    ``heartbeat``: how often agents report to the dispatcher (5 s).
    ``certificate_expiry``: how long a node's certificate is valid (90 days; the least is an hour).
    ``autolock``: managers need a key after a restart (:meth:`Swarm.unlock_key`).

    ``swarm.configure(SwarmSettings(snapshot_interval=100, task_history=1))``
    """

    snapshot_interval: int | None = None
    kept_snapshots: int | None = None
    kept_entries: int | None = None
    task_history: int | None = None
    heartbeat: float | None = None
    certificate_expiry: float | None = None
    autolock: bool | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and value < 0:
                raise UsageError(f"swarm settings: {each.name} cannot be {value}")

    def edited(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the swarm's spec, as ``GET /swarm`` has it, with these settings."""
        edited = copy.deepcopy(dict(spec))
        for section, key, value in self._keys():
            if value is not None:
                edited.setdefault(section, {})[key] = value
        return edited

    def _keys(self) -> Iterator[tuple[str, str, int | bool | None]]:
        yield "Raft", "SnapshotInterval", self.snapshot_interval
        yield "Raft", "KeepOldSnapshots", self.kept_snapshots
        yield "Raft", "LogEntriesForSlowFollowers", self.kept_entries
        yield "Orchestration", "TaskHistoryRetentionLimit", self.task_history
        yield "Dispatcher", "HeartbeatPeriod", _nano(self.heartbeat)
        yield "CAConfig", "NodeCertExpiry", _nano(self.certificate_expiry)
        yield "EncryptionConfig", "AutoLockManagers", self.autolock


@dataclass(frozen=True)
class SwarmPools:
    """What only the beginning of a swarm decides: where its networks' subnets are taken from.

    ``Swarm.form(lab, pools=SwarmPools(("10.20.0.0/16",), prefix=26))``. ``data_port`` is VXLAN's.
    """

    pools: tuple[str, ...] = ()
    prefix: int | None = None
    data_port: int | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the arguments with which the SDK initializes such a swarm."""
        arguments = {
            "default_addr_pool": list(self.pools) or None,
            "subnet_size": self.prefix,
            "data_path_port": self.data_port,
        }
        return {key: value for key, value in arguments.items() if value is not None}

    def needs(self) -> Iterator[tuple[str, str]]:
        """Yield what of it not every engine has, with the release that has it first."""
        if self.data_port is not None:
            yield "a data path port", "19.03.0"
        if self.pools or self.prefix is not None:
            yield "a default address pool", "18.09.0"


def _nano(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * _NANO)
