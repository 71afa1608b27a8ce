"""A probe of one's own, as a fixture: what each node has sent."""

from collections.abc import Mapping

import pytest

from harness.lab import Node
from harness.swarm import Swarm
from harness.trial import Trial


class SentBytes:
    """How many bytes each node has sent over its link since the scenario began."""

    def __init__(self, swarm: Swarm, trial: Trial) -> None:
        self._nodes = (*swarm.managers, *swarm.workers)
        self._trial = trial
        self._before = {node.name: _sent(node) for node in self._nodes}

    def since_begin(self) -> Mapping[str, int]:
        """Return the bytes by node; what was seen is in ``samples/sent_bytes.jsonl``, too."""
        found = {node.name: _sent(node) - self._before[node.name] for node in self._nodes}
        now = self._trial.clock.now()
        rows = [{"t": now, "node": node, "bytes": count} for node, count in found.items()]
        self._trial.write_samples("sent_bytes", rows)
        return found


@pytest.fixture
def sent_bytes(swarm: Swarm, trial: Trial) -> SentBytes:
    """How many bytes each node has sent."""
    return SentBytes(swarm, trial)


def _sent(node: Node) -> int:
    return int(node.run(["cat", "/sys/class/net/eth0/statistics/tx_bytes"]).stdout)
