"""Faults of external services refuse what cannot be meant before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from stand_ins import stand_in

from harness.errors import UsageError
from harness.faults.catalogue import catalogue, read_parameters
from harness.faults.service import (
    GelfSlow,
    GelfStalled,
    NameServerLies,
    NameServerSlow,
    RegistryAnswers,
    RegistrySlow,
    RegistryTagMoved,
    ServiceFault,
    ServiceRefused,
)
from harness.services.base import ExternalService
from harness.services.gelf_sink import GelfSink
from harness.services.name_server import NameServer
from harness.services.registry import Registry


class Trial:
    pass


def of(kind: type[ExternalService]) -> ExternalService:
    """A service that is there in name only: whoever touches it fails."""
    made = kind.__new__(kind)
    made.name = "one"
    return made


@pytest.mark.parametrize(
    ("fault", "service", "words"),
    [
        (GelfStalled, Registry, {}),
        (GelfSlow, GelfSink, {"rate": 0.5}),
        (RegistryAnswers, Registry, {"status": 200}),
        (RegistryAnswers, Registry, {"status": 600}),
        (RegistrySlow, Registry, {"delay": 0.0}),
        (RegistryTagMoved, Registry, {"repository": "a", "tag": "1", "to": "1"}),
        (NameServerSlow, NameServer, {"delay": -1.0}),
        (NameServerLies, NameServer, {"answer": "10.0.0.300"}),
        (NameServerLies, NameServer, {"answer": "NOERROR"}),
        (NameServerLies, GelfSink, {}),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    fault: type[ServiceFault[Any]],
    service: type[ExternalService],
    words: Mapping[str, Any],
) -> None:
    with pytest.raises(UsageError):
        fault(stand_in(Trial()), of(service), **words)


@pytest.mark.parametrize(
    ("name", "words", "read"),
    [
        ("gelf-slow", {}, {"rate": 20480.0}),
        ("gelf-slow", {"rate": "1MiB"}, {"rate": 1048576.0}),
        ("registry-answers", {"status": "503"}, {"status": 503}),
        ("registry-slow", {"delay": "500ms"}, {"delay": 0.5}),
        ("name-server-lies", {"answer": "10.0.0.3"}, {"answer": "10.0.0.3"}),
    ],
)
def test_words_become_values(
    name: str, words: Mapping[str, str], read: Mapping[str, float | str]
) -> None:
    assert read_parameters(catalogue()[name], words) == read


@pytest.mark.parametrize("word", ["200", "451", "6000", "-1", "many", "429.0"])
def test_a_status_that_refuses_nothing_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="not a valid refusal"):
        read_parameters(catalogue()["registry-answers"], {"status": word})


def test_two_ways_to_answer_contradict_each_other_and_a_black_hole_does_not() -> None:
    sink: Any = of(GelfSink)
    stalled, refused = GelfStalled(stand_in(Trial()), sink), ServiceRefused(stand_in(Trial()), sink)
    assert stalled.claims() & refused.claims()
    black_hole = catalogue()["service-black-hole"](stand_in(Trial()), sink)  # type: ignore[call-arg]
    assert not black_hole.claims() & refused.claims()


def test_every_fault_of_a_service_is_in_the_catalogue_with_its_words() -> None:
    kinds = [kind for kind in catalogue().values() if issubclass(kind, ServiceFault)]
    assert len(kinds) == 14
    for kind in kinds:
        assert kind.acts_on == "service"
        assert kind.summary.endswith(".")
        assert "healed" in kind.proof
