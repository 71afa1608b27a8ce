"""Warm-ups: made once, in steps of which workloads share the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import MicrovmError
from harness.images import Cache
from harness.snapshots import warm_up
from harness.snapshots.warm_up import warmed_up
from harness.vm.pool import Pool
from harness.vm.snapshot import Snapshot

WEB, LOGS = {"name": "web"}, {"name": "logs"}


class Guests:
    """Thaws that are kept as they ask to be, and what was thawed for what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.cache = Cache(folder)
        self.snapshot = cast("Snapshot", SimpleNamespace(key="base", note={}, cache=self.cache))
        self.kept: dict[str, Any] = {}
        self.thawed: list[tuple[str, Mapping[str, Any]]] = []
        self.said: list[str] = []
        self.fails = False
        monkeypatch.setattr(warm_up, "thaw", self.thaw)
        monkeypatch.setattr(warm_up, "find", lambda _, facts: self.kept.get(repr(facts)))
        monkeypatch.setattr(warm_up, "made_once", lambda *_: nullcontext())

    def thaw(
        self,
        source: Any,
        payload: bytes | None,
        inputs: Mapping[str, Any],
        *,
        at_checkpoint: Callable[[Any], bool],
        **_: Any,
    ) -> Any:
        assert payload is None
        self.thawed.append((source.key, dict(inputs)))

        def keep(facts: Mapping[str, Any], *, note: Mapping[str, str]) -> Any:
            made = SimpleNamespace(key=f"after {len(self.thawed)}", note=note)
            self.kept[repr(dict(facts))] = made
            return made

        def wait(*_: Any, **__: Any) -> Any:
            if not self.fails:
                assert at_checkpoint(SimpleNamespace(keep=keep)) is False
            tail = "swarm-chaos: no leader\n" if self.fails else ""
            return SimpleNamespace(console_tail=tail, detail="it ended")

        return nullcontext(SimpleNamespace(wait=wait))

    def warmed(self, inputs: Mapping[str, Any]) -> str:
        pool = cast("Pool", SimpleNamespace(slot=lambda: nullcontext(0)))
        return warmed_up(self.snapshot, inputs, 7, pool, watch=self.said.append).key


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Guests:
    return Guests(monkeypatch, tmp_path)


def asked(serving: Mapping[str, Any] | None, *, reseed: bool = True) -> dict[str, Any]:
    return {"seed": 7, "reseed": reseed, "serving": serving}


def test_workloads_share_the_reseeding(guests: Guests) -> None:
    web = guests.warmed(asked(WEB))
    assert guests.thawed == [
        ("base", asked(None)),
        ("after 1", asked(WEB, reseed=False)),
    ]
    logs = guests.warmed(asked(LOGS))
    assert guests.thawed[2:] == [("after 1", asked(LOGS, reseed=False))]
    assert guests.warmed(asked(None)) == "after 1"
    assert guests.warmed(asked(WEB)) == web != logs
    assert len(guests.thawed) == 3
    assert guests.said == [
        "warming up a reseeded swarm, seed 7 (once)",
        "warming up a swarm that serves web, seed 7 (once)",
        "warming up a swarm that serves logs, seed 7 (once)",
    ]


def test_a_swarm_that_is_not_reseeded_serves_at_once(guests: Guests) -> None:
    guests.warmed(asked(WEB, reseed=False))
    assert guests.thawed == [("base", asked(WEB, reseed=False))]


def test_an_older_recording_is_warmed_up_in_one_step_as_it_was(guests: Guests) -> None:
    guests.warmed({"seed": 7, "serving": WEB})
    assert guests.thawed == [("base", {"seed": 7, "serving": WEB})]


def test_a_warm_up_that_fails_says_what_the_guest_said(guests: Guests) -> None:
    guests.fails = True
    with pytest.raises(MicrovmError, match="the warm-up failed: no leader"):
        guests.warmed(asked(None))
