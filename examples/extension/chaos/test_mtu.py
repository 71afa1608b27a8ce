"""A link with a lower MTU than its overlay networks': what users notice of it."""

import pytest
from chaos_mtu.fixtures import SentBytes

from harness.faults import Faults
from harness.load import Load
from harness.swarm import Swarm, balanced_web
from harness.trial import Expectation, Measures, Observation

LOST = Expectation(
    "requests lost", unit="1", at_most=0.05,
    source="the kernel tells a sender on the overlay how large a packet may be (RFC 1191)",
    control="test_control_app_gone",
)  # fmt: skip
SENT = Observation("bytes that the node sent", unit="B", better="none")
LARGE = "/?bytes=4000"  # three packets


@pytest.mark.swarm(managers=1, workers=1)
def test_mtu_lowered(
    swarm: Swarm, load: Load, faults: Faults, sent_bytes: SentBytes, measure: Measures
) -> None:
    """Users notice nothing of a worker whose link takes smaller packets than its overlay."""
    web, [worker] = swarm.deploy(balanced_web()), swarm.workers
    lowered = faults.make("link-mtu-lowered", worker, mtu=1200)
    with lowered, load.http(web, path=LARGE) as sent:
        swarm.observe(10, "users ask for what takes several packets")
    measure(LOST, sent.share_lost)
    measure(SENT, sent_bytes.since_begin()[worker.name])


@pytest.mark.control
@pytest.mark.swarm(managers=1, workers=1)
def test_control_app_gone(swarm: Swarm, load: Load, measure: Measures) -> None:
    """Without the app every request is lost: the check must fail, or it is blind."""
    web = swarm.deploy(balanced_web())
    web.scale("app", 0)
    with load.http(web, path=LARGE) as sent:
        swarm.observe(10, "users ask an app that is gone")
    measure(LOST, sent.share_lost)
