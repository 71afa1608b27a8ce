"""What a log collector's outage costs those who log to it: programs, lines, dockerd's memory.

Three programs write 20 thousand numbered lines a minute between them through Docker's GELF driver:
one on a worker in the driver's non-blocking mode, one on another worker in its blocking mode, and
one on the leader, blocking too. Then the collector fails for half a minute, and comes back.

A blocking program stands still in the outage once what lies between is full: that is what its mode
is for. It must lose next to nothing and write again soon. A non-blocking one must never stand
still, and pays in lines. In neither mode may dockerd grow by more than the buffers it was given,
a new container must start, and on the leader none of it may cost the leadership: not even where its
dockerd may take little memory, and all lines come from one node.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from harness.faults import Faults
from harness.lab import Node
from harness.load import Load
from harness.probes.leadership import Leadership
from harness.probes.logwriters import LogWriters, Written
from harness.probes.memory import MIB, Memory
from harness.pytest_plugin import Probes
from harness.services.gelf_sink import GelfSink
from harness.services.servers.line_account import Account
from harness.services.services import Services
from harness.swarm import (
    LOGWRITER_IMAGE,
    LogDriver,
    Service,
    Swarm,
    Workload,
    balanced_web,
)
from harness.trial import Expectation, Measures, Observation, Readings, Trial
from harness.wait import Elapsed, NotYet, expect_state, time_until

pytestmark = [
    pytest.mark.swarm(managers=3, workers=2),
    pytest.mark.upstream(
        "moby/moby#31942", "moby/moby#29282", "moby/moby#41539", "moby/moby#21966"
    ),
]

# Lines a second of each of the three programs: 20 000 a minute in all. Lines of 1.5 kB fill what a
# blocking driver holds, a megabyte and a pipe, in seven seconds.
RATE = 112
LINE = 1500

# Seconds that are observed before the fault, during it, and after it.
BEFORE = 8.0
OUTAGE = 30.0
AFTER = 10.0

# What non-blocking mode is given to hold (max-buffer-size, in MiB). Blocking mode holds less, 2 to
# 4 MB a container.
BUFFER = 4

QUIET, HELD_UP, ON_LEADER = "non-blocking", "blocking", "blocking-on-the-leader"
#: The log driver's options of each program.
Modes = Mapping[str, Mapping[str, str]]
#: From one trial time to another.
Window = tuple[float, float]

NON_BLOCKING = {"mode": "non-blocking", "max-buffer-size": f"{BUFFER}m"}

# A write that takes longer than this has held its program up; a healthy one takes milliseconds.
STALL = 1.0

STALLED_QUIET = Expectation(
    f"{QUIET}: longest stalled write",
    unit="s",
    at_most=STALL,
    source="moby daemon/logger/ring.go: it never waits",
    control="test_control_all_goes_wrong",
)
STALLED = Observation("{program}: longest stalled write", unit="s")
SENT = Observation("{program}: lines sent", unit="lines", better="higher")
LOST = Observation("{program}: lines lost", unit="lines")
NONE_LOST = Expectation(
    f"{HELD_UP}: lines lost",
    unit="lines",
    at_most=0,
    source="go-gelf tcpwriter.go: 4 attempts at 1 s a message",
    control="test_control_all_goes_wrong",
)
LOST_TO_REFUSAL = Expectation(
    NONE_LOST.name,
    unit="lines",
    at_most=OUTAGE / 3 + RATE / 2,
    source="go-gelf tcpwriter.go: a message that is refused is given up after 4 attempts, 1 s "
    "apart, so 10 in 30 s; lost too is what the sink had not read when it closed, half a second's "
    "56 lines at most",
    no_control="test_control_all_goes_wrong breaks the stricter bound of the same measure",
)
ANY_LOST = Observation(NONE_LOST.name, unit="lines")
TWICE = Observation("{program}: lines delivered twice", unit="lines")
MEMORY_BEFORE = Observation("{program}: dockerd's memory before", unit="MiB")
GREW_QUIET = Expectation(
    f"{QUIET}: growth of dockerd's memory in the outage",
    unit="MiB",
    at_most=3.0 * BUFFER,
    source="moby daemon/logger/ring.go, moby#41539: a queue counts the bytes of lines alone, and "
    "costs up to thrice as much",
    control="test_control_all_goes_wrong",
)
GREW = Expectation(
    "{program}: growth of dockerd's memory in the outage",
    unit="MiB",
    at_most=3.0 * BUFFER,
    source="moby daemon/logger/copier.go: blocking mode has no queue, and holds one line of 16 KiB "
    "at most; it may not cost more than the mode that has one of 4 MiB",
    control="test_control_all_goes_wrong",
)
STAYED = Observation("{program}: growth of dockerd's memory that stayed", unit="MiB")
SLOPE = Observation("{program}: slope of dockerd's memory in the outage", unit="MiB/min")
LONG = 1800.0
LONG_SLOPE = Expectation(
    SLOPE.name,
    unit="MiB/min",
    at_most=3.0 * BUFFER / (LONG / 60),
    source="a queue of 4 MiB is full after half a minute; what grows after that is a leak, and "
    "half an hour of it may not cost more than the queue, 12 MiB",
    no_control="the controls of the short outage break the bound on growth by the same samples",
)
WRITES_AGAIN = Expectation(
    f"{HELD_UP}: time until it writes again after the heal",
    unit="s",
    at_most=10,
    source="go-gelf tcpwriter.go: the next attempt comes within a second; then there is a megabyte "
    "to send",
    control="test_control_vanished_for_long",
)
WRITES_AGAIN_BY_TCP = Expectation(
    WRITES_AGAIN.name,
    unit="s",
    at_most=35,
    source="Linux tcp_retries2: TCP tries again after 0.2 s and then after twice as long each "
    "time, for the eighth time at 51 s, 21 s after the heal; the next would be at 102 s",
    no_control="test_control_vanished_for_long breaks the stricter bound of the same measure",
)
QUIET_WRITES_AGAIN = Observation(f"{QUIET}: time until it writes again after the heal", unit="s")
NEWCOMER = Expectation(
    "time until a new container runs in the outage",
    unit="s",
    at_most=20,
    source="a start takes some seconds on a slow machine, or one more 5 s later (swarm's restart "
    "delay)",
    control="test_control_all_goes_wrong",
)
NEWCOMER_WAITS = Observation(NEWCOMER.name, unit="s")
NEWCOMER_AFTER = Observation("time until the new container runs after the heal", unit="s")
CHANGES = Expectation(
    "changes of leader",
    unit="1",
    exactly=0,
    source="raft: a leader with its majority goes on leading",
    control="test_control_all_goes_wrong",
)


@dataclass(frozen=True)
class Case:
    """A way for the sink to fail, and what it may cost.

    ``lost`` is of a blocking program, ``newcomer`` of a container that starts in the outage.
    ``rate`` and ``line`` are each program's lines a second and bytes a line; ``by_name``: the sink
    is known to Docker by its name and not by its address. It fails for ``seconds``.
    """

    fault: str
    lost: Expectation | Observation = NONE_LOST
    writes_again: Expectation = WRITES_AGAIN
    newcomer: Expectation | Observation = NEWCOMER
    rate: int = RATE
    line: int = LINE
    by_name: bool = False
    seconds: float = OUTAGE
    slope: Expectation | Observation = SLOPE


@pytest.mark.thorough
def test_sink_stalls(outage: Callable[..., Readings], measure: Measures) -> None:
    """The collector accepts connections and reads nothing."""
    measure.each(outage(Case("gelf_stalled")))


@pytest.mark.known_bug("moby/moby#21966", measures=[NEWCOMER])
def test_sink_refuses(outage: Callable[..., Readings], measure: Measures) -> None:
    """The collector is down and its port refuses, and no container can start that logs to it."""
    measure.each(outage(Case("refused", lost=LOST_TO_REFUSAL)))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "case",
    [
        # Nothing is lost by slowness alone, and the buffers never run dry.
        Case("gelf_slow"),
        # What was on the way at each of the resets is lost, at the sender's every attempt.
        Case("gelf_reset", lost=ANY_LOST),
        # The driver dials without a timeout, so a new container waits as well.
        Case("black_hole", writes_again=WRITES_AGAIN_BY_TCP, newcomer=NEWCOMER_WAITS),
        # The name leads to the new place at once, for those who ask.
        Case("moved", writes_again=WRITES_AGAIN_BY_TCP, by_name=True),
        # 90 thousand short lines a minute: a queue costs more on top of their bytes.
        Case("gelf_stalled", rate=500, line=100),
    ],
    ids=["is-slow", "resets", "vanishes", "moves", "stalls-under-short-lines"],
)
def test_sink_fails_otherwise(
    case: Case, outage: Callable[..., Readings], measure: Measures
) -> None:
    """The collector is slow, resets its connections, vanishes, moves, or is sent short lines."""
    measure.each(outage(case))


@pytest.mark.thorough
@pytest.mark.deadline(3600)
def test_sink_stalls_for_half_an_hour(outage: Callable[..., Readings], measure: Measures) -> None:
    """Half an hour in which the collector reads nothing costs no more than half a minute."""
    measure.each(outage(Case("gelf_stalled", seconds=LONG, slope=LONG_SLOPE)))


@pytest.mark.control
def test_control_all_goes_wrong(outage: Callable[..., Readings], measure: Measures) -> None:
    """Modes the wrong way round, buffers far too large, and the leader killed in the outage."""
    wrong = {QUIET: {}, HELD_UP: NON_BLOCKING | {"max-buffer-size": "64k"}, ON_LEADER: {}}
    measure.each(outage(Case("refused"), modes=wrong, hoarder=True, kill_leader=True))


@pytest.mark.control
def test_control_vanished_for_long(outage: Callable[..., Readings], measure: Measures) -> None:
    """Packets that vanish leave TCP waiting long after they pass again, and the check says so."""
    measure.each(outage(Case("black_hole", newcomer=NEWCOMER_WAITS)))


# What the leader logs while its dockerd has little memory: 24 thousand lines a minute in all.
TALKERS = 4
TALK = 100
ROOM = TALKERS * 3 * BUFFER + 32

DIED = Expectation(
    "times the leader's dockerd was killed for want of memory",
    unit="1",
    exactly=0,
    source="four queues of 4 MiB cost 48 MiB at most (moby#41539), and what dockerd holds besides "
    "is charged already; 80 MiB are given, so that its garbage collector has 32 to breathe",
    control="test_control_buffers_beyond_the_limit",
)
USERS_LOST = Expectation(
    "share of requests lost in the outage and after it",
    unit="1",
    at_most=0,
    source="a dockerd that lives answers for names, whatever its log drivers wait for",
    control="test_control_buffers_beyond_the_limit",
)
LEADER_CHANGES = Expectation(
    CHANGES.name,
    unit="1",
    exactly=0,
    source=CHANGES.source,
    control="test_control_buffers_beyond_the_limit",
)
USERS_LOST_TO = Observation("share of requests lost: {kind}", unit="1")
SECONDS_OF_50X = Observation("seconds in which a request was answered with 50x", unit="s")
UNSERVED = Observation("share of time not served at the entry that is worst off", unit="1")
LEADER_GREW = Observation("growth of the leader's dockerd in the outage", unit="MiB")
LEADER_STAYED = Observation("growth of the leader's dockerd that stayed", unit="MiB")

WEB = balanced_web(replicas=4)


@pytest.mark.swarm(managers=3, workers=2, serving=WEB)
def test_leader_short_of_memory(starved: Callable[..., Readings], measure: Measures) -> None:
    """A leader that logs a lot, with its buffers' worth of memory, outlives the collector."""
    measure.each(starved(buffer=BUFFER, line=LINE))


@pytest.mark.swarm(managers=3, workers=2, serving=WEB)
@pytest.mark.control
def test_control_buffers_beyond_the_limit(
    starved: Callable[..., Readings], measure: Measures
) -> None:
    """Buffers that hold more than dockerd may take end it: an election follows, and 50x."""
    measure.each(starved(buffer=128, line=16000))


@pytest.fixture
def starved(
    swarm: Swarm, services: Services, faults: Faults, load: Load, probes: Probes, trial: Trial
) -> Callable[..., Readings]:
    """A collector stalls under a leader whose dockerd may take little memory, and users ask on."""

    def run(*, buffer: int, line: int) -> Readings:
        memory, leader, sink = probes.memory, swarm.leader, services.gelf_sink()
        log = LogDriver(
            "gelf",
            sink.options("tcp", {"mode": "non-blocking", "max-buffer-size": f"{buffer}m"}),
        )
        talkers = [
            program(f"talker-{number}", leader, log, rate=TALK, line=line)
            for number in range(TALKERS)
        ]
        web = swarm.serving
        swarm.deploy(Workload("logs", (), tuple(talkers)))
        calm = trial.clock.now()
        memory.start([leader])
        swarm.observe(BEFORE, "the leader's memory before the outage")
        with load.http(web) as traffic:
            with (
                faults.resource.limit_dockerd_memory(leader, ROOM * MIB) as limit,
                faults.service.gelf_stalled(sink) as outage,
            ):
                outage.hold(OUTAGE)
                killed = limit.killed
            swarm.observe(OUTAGE, "the collector is back", since=outage.healed_at)
        healed, ended = trial.clock.at(outage.healed_at), trial.clock.now()
        grew = growth(memory, leader, (calm, outage.began), (outage.began, healed))
        late = level(memory, leader, ((healed + ended) / 2, ended))
        asked = traffic.window(outage.began, ended)
        return {
            DIED: killed,
            LEADER_CHANGES: changes_of_leader(probes.leadership, outage.began, ended),
            USERS_LOST: asked.share_lost,
            USERS_LOST_TO: dict(asked.losses),
            SECONDS_OF_50X: len({int(r.t) for r in asked.all if r.outcome == "5xx"}),
            UNSERVED: max(asked.unserved_by_entry().values(), default=None),
            LEADER_GREW: mib(grew),
            LEADER_STAYED: mib(difference(late, level(memory, leader, (calm, outage.began)))),
        }

    return run


DEAD, DEAD_PLAIN, LIVE = "dead port, gzip", "dead port, no compression", "live sink, gzip"
GZIP: dict[str, str] = {}
PLAIN = {"gelf-compression-type": "none"}

# A container's start and an error a line are a few MiB. A new compressor is made for every
# message, and what that leaves to the garbage collector is tens of MiB, hundreds on a slow machine,
# within seconds.
GROWN = 15.0

UDP_STALLED = Observation("{case}: longest stalled write", unit="s")
UDP_GREW = Observation("{case}: growth of dockerd's memory", unit="MiB")
PLAIN_GREW = Expectation(
    f"{DEAD_PLAIN}: growth of dockerd's memory",
    unit="MiB",
    at_most=16,
    source="moby/moby#29282: much less with gelf-compression-type=none",
    control="test_control_compression_the_wrong_way_round",
)
COSTS_AS_WELL = Expectation(
    "share of the dead port's growth that a live sink costs as well",
    unit="1",
    at_least=0.5,
    source="if the compressor is to blame, a sink that is alive costs at least half as much",
    control="test_control_compression_the_wrong_way_round",
)


@pytest.mark.thorough
def test_growth_by_udp_is_compression(
    growth_by_udp: Callable[..., Readings], measure: Measures
) -> None:
    """Memory that grows under a dead UDP port is the compressor's, and a live sink costs as much.

    By UDP nothing waits for a sink, so all that an outage can cost is its errors. Without the two
    others the dead port would be blamed, as it was in moby/moby#29282.
    """
    measure.each(growth_by_udp({DEAD: GZIP, LIVE: GZIP, DEAD_PLAIN: PLAIN}))


@pytest.mark.control
def test_control_compression_the_wrong_way_round(
    growth_by_udp: Callable[..., Readings], measure: Measures
) -> None:
    """Compression where none is said to be, and none at the live sink: the outage is blamed."""
    measure.each(growth_by_udp({DEAD: GZIP, LIVE: PLAIN, DEAD_PLAIN: GZIP}))


@pytest.fixture
def growth_by_udp(
    swarm: Swarm, services: Services, faults: Faults, memory: Memory, trial: Trial
) -> Callable[..., Readings]:
    """Three programs log by UDP: to a dead port and to a live sink, and one is uncompressed."""

    def run(compression: Mapping[str, dict[str, str]]) -> Readings:
        live, dead = services.gelf_sink("gelf"), services.gelf_sink("gelf-dead")
        nodes = dict(zip((DEAD, LIVE, DEAD_PLAIN), [*swarm.workers, swarm.leader], strict=True))
        sinks = {DEAD: dead, LIVE: live, DEAD_PLAIN: dead}
        names = {case: f"writer-{number}" for number, case in enumerate(nodes)}
        wanted = [
            program(
                names[case],
                nodes[case],
                LogDriver("gelf", sinks[case].options("udp", compression[case])),
                line=200,
            )
            for case in nodes
        ]
        before = trial.clock.now()
        memory.start(nodes.values())
        swarm.observe(BEFORE, "dockerds' memory before anything logs")
        with faults.service.refused(dead) as fault:
            logs = swarm.deploy(Workload("logs", (), tuple(wanted)))
            fault.hold(GROWN)
            written = ask({case: LogWriters(logs, names[case]) for case in nodes})
            until = trial.clock.now()
        grown = {
            case: growth(memory, node, (before, fault.began), (fault.began, until))
            for case, node in nodes.items()
        }
        return {
            UDP_STALLED: {case: written[case].longest_stall for case in nodes},
            UDP_GREW: {case: mib(grown[case]) for case in (DEAD, LIVE)},
            PLAIN_GREW: mib(grown[DEAD_PLAIN]),
            COSTS_AS_WELL: ratio(grown[LIVE], grown[DEAD]),
        }

    return run


@pytest.fixture
def outage(
    swarm: Swarm, services: Services, faults: Faults, probes: Probes, trial: Trial
) -> Callable[..., Readings]:
    """A collector fails under three programs; what that cost is returned as measures."""

    def run(
        case: Case,
        *,
        modes: Modes | None = None,
        hoarder: bool = False,
        kill_leader: bool = False,
    ) -> Readings:
        leadership, memory = probes.leadership, probes.memory
        leader, sink = swarm.leader, services.gelf_sink()
        nodes = dict(zip((QUIET, HELD_UP, ON_LEADER), [*swarm.workers, leader], strict=True))
        logs = swarm.deploy(writers(case, sink, nodes, modes, hoarder=hoarder))
        programs = {name: LogWriters(logs, name) for name in nodes}
        calm = trial.clock.now()
        memory.start(nodes.values())
        swarm.observe(BEFORE, "dockerds' memory before the outage")

        with getattr(faults.service, case.fault)(sink) as fault, ExitStack() as stack:
            beside = swarm.create(Workload("beside", (), (newcomer(case, sink, nodes[HELD_UP]),)))
            started = beside.time_to_running("newcomer", within=NEWCOMER.limit)
            if kill_leader:
                killed = stack.enter_context(faults.kill_dockerd(leader))
                leadership.time_to_new_leader(other_than=leader, since=killed, within=OUTAGE)
            fault.hold(case.seconds)
            in_outage = ask(programs)
        again = {
            name: time_to_writing(programs[name], in_outage[name], since=fault.healed_at)
            for name in (HELD_UP, QUIET)
        }
        started_after = beside.time_to_running(
            "newcomer", since=fault.healed_at, within=NEWCOMER.limit + OUTAGE
        )
        swarm.observe(AFTER, "dockerds' memory after the heal", since=fault.healed_at)

        sent = ask(programs)
        healed = trial.clock.at(fault.healed_at)
        windows = (calm, fault.began), (fault.began, healed), (healed, trial.clock.now())
        return {
            case.newcomer: started,
            NEWCOMER_AFTER: started_after,
            case.writes_again: again[HELD_UP],
            QUIET_WRITES_AGAIN: again[QUIET],
            CHANGES: changes_of_leader(leadership, fault.began, healed + AFTER),
            **lines_of(sent, settled_accounts(sink, sent), lost=case.lost),
            **memory_of(memory, nodes, windows, slope=case.slope),
        }

    return run


def writers(
    case: Case, sink: GelfSink, nodes: dict[str, Node], modes: Modes | None, *, hoarder: bool
) -> Workload:
    """The three programs; with ``hoarder`` one more on each worker, with far too large a buffer."""
    modes = modes or {QUIET: NON_BLOCKING, HELD_UP: {}, ON_LEADER: {}}
    wanted = [
        program(name, node, by_tcp(case, sink, modes[name]), rate=case.rate, line=case.line)
        for name, node in nodes.items()
    ]
    if hoarder:
        # 16 KiB is what the driver takes for one message
        large = by_tcp(case, sink, {"mode": "non-blocking", "max-buffer-size": "128m"})
        wanted += [
            program(f"hoarder-{number}", nodes[name], large, rate=160, line=16000)
            for number, name in enumerate((QUIET, HELD_UP))
        ]
    return Workload("logs", (), tuple(wanted))


def newcomer(case: Case, sink: GelfSink, node: Node) -> Service:
    """A program that starts when the sink has failed."""
    return program("newcomer", node, by_tcp(case, sink, {}), rate=1, line=LINE)


def by_tcp(case: Case, sink: GelfSink, mode: Mapping[str, str]) -> LogDriver:
    """The GELF driver, over TCP."""
    host = sink.hostname if case.by_name else sink.address
    return LogDriver("gelf", sink.options("tcp", mode, host=host))


def program(
    name: str, node: Node, log: LogDriver, *, rate: int = RATE, line: int = LINE
) -> Service:
    """A program that writes numbered lines on one node."""
    return Service(
        name,
        LOGWRITER_IMAGE,
        (),
        constraints=(f"node.hostname=={node.name}",),
        env={"LINES_PER_SECOND": str(rate), "LINE_BYTES": str(line)},
        log=log,
    )


def ask(programs: dict[str, LogWriters]) -> dict[str, Written]:
    """Return what each program says of itself; each is one task."""
    return {name: next(iter(found.ask().values())) for name, found in programs.items()}


def time_to_writing(program: LogWriters, before: Written, *, since: float) -> Elapsed:
    """Return how long until a program had written since ``before`` and was not held up."""

    def writes() -> bool | NotYet:
        [now] = program.ask().values()
        if now.written > before.written and now.current_stall < STALL:
            return True
        lines = now.written - before.written
        return NotYet(f"{lines} lines since; held up for {now.current_stall} s")

    return time_until(
        writes, state="it to write again", within=OUTAGE + 10.0, since=since, every=0.25
    )


def settled_accounts(sink: GelfSink, sent: dict[str, Written]) -> dict[str, Account]:
    """Return what became of all lines that were sent, once no more of them arrive for 3 s."""
    numbers = {each.task: each.written for each in sent.values()}
    last = {"lost": math.inf, "since": time.monotonic()}

    def settled() -> NotYet | dict[str, Account]:
        accounts = sink.accounts(numbers)
        lost = sum(account.lost for account in accounts.values())
        if lost < last["lost"]:
            last.update(lost=lost, since=time.monotonic())
        if lost and time.monotonic() < last["since"] + 3:
            return NotYet(f"{lost} lines have not arrived")
        return accounts

    return expect_state(settled, state="the last lines to arrive", within=60, every=0.5)


def lines_of(
    sent: dict[str, Written], accounts: dict[str, Account], *, lost: Expectation | Observation
) -> Readings:
    """Return the measures of lines, and of the writes that were held up."""
    by = {name: accounts[each.task] for name, each in sent.items()}
    loud = (HELD_UP, ON_LEADER)
    return {
        STALLED_QUIET: sent[QUIET].longest_stall,
        STALLED: {name: sent[name].longest_stall for name in loud},
        SENT: {name: account.sent for name, account in by.items()},
        lost: (by[HELD_UP].lost, gaps(by[HELD_UP])),
        LOST: {name: (by[name].lost, gaps(by[name])) for name in (QUIET, ON_LEADER)},
        TWICE: {name: account.duplicates for name, account in by.items()},
    }


def gaps(account: Account) -> str:
    """Return in words where the lost lines were."""
    shown = ", ".join(f"{first} to {end - 1}" for first, end in account.gaps[:3])
    more = len(account.gaps) - 3
    return f"{shown}{f' and {more} more gaps' if more > 0 else ''}"


def changes_of_leader(leadership: Leadership, since: float, until: float) -> int:
    """Return how often a manager became the leader between two trial times."""
    views = leadership.views()
    return sum(since <= view.t <= until and view.leader == view.by for view in views)


def memory_of(
    memory: Memory,
    nodes: dict[str, Node],
    windows: tuple[Window, Window, Window],
    *,
    slope: Expectation | Observation,
) -> Readings:
    """Return how far each dockerd grew in the outage, how steadily, and what of it stayed."""
    before, during, after = windows
    late = (after[0] + after[1]) / 2, after[1]
    grown = {name: mib(growth(memory, node, before, during)) for name, node in nodes.items()}
    return {
        MEMORY_BEFORE: {name: mib(level(memory, node, before)) for name, node in nodes.items()},
        GREW_QUIET: grown.pop(QUIET),
        GREW: grown,
        STAYED: {
            name: mib(difference(level(memory, node, late), level(memory, node, before)))
            for name, node in nodes.items()
        },
        slope: {name: slope_of(memory, node, during) for name, node in nodes.items()},
    }


def level(memory: Memory, node: Node, window: Window) -> float | None:
    """Return how much a node's dockerd held in a window of time, in bytes."""
    return memory.level(node, "anonymous", since=window[0], until=window[1])


def growth(memory: Memory, node: Node, before: Window, during: Window) -> float | None:
    """Return by how much a node's dockerd grew from one window to its peak in the next."""
    peak = memory.peak(node, "anonymous", since=during[0], until=during[1])
    return difference(peak, level(memory, node, before))


def slope_of(memory: Memory, node: Node, window: Window) -> tuple[float, str] | None:
    """Return how steadily a node's dockerd grew, in MiB a minute, and the 95 % interval."""
    trend = memory.growth(node, "anonymous", since=window[0], until=window[1])
    if trend is None:
        return None
    low, high = trend.low * 60 / MIB, trend.high * 60 / MIB
    return trend.slope * 60 / MIB, f"95 %: {low:.1f} to {high:.1f}"


def difference(one: float | None, other: float | None) -> float | None:
    """Return None when one of them could not be had."""
    return None if one is None or other is None else one - other


def ratio(one: float | None, other: float | None) -> float | None:
    """Return None when one of them could not be had, or is nothing."""
    return one / other if one and other else None


def mib(number: float | None) -> float | None:
    """Return bytes as MiB."""
    return None if number is None else number / MIB
