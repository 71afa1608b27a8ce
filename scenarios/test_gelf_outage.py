"""What a log collector's outage costs those who log to it: programs, lines, dockerd's memory.

Three programs write 20 thousand numbered lines a minute between them through Docker's GELF driver:
one on a worker in the driver's non-blocking mode, one on another worker in its blocking mode, and
one on the leader, blocking too. Then the collector fails for half a minute, and comes back.

A blocking program stands still in the outage once what lies between is full: that is what its mode
is for. It must lose next to nothing and write again soon. A non-blocking one must never stand
still, and pays in lines. In neither mode may dockerd grow by more than the buffers it was given,
a new container must start, and on the leader none of it may cost the leadership.
"""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from harness.images import WORKLOAD_TAGS
from harness.probes.logwriters import LogWriters
from harness.probes.memory import MIB
from harness.swarm import LogDriver, Service, Workload
from harness.wait import NotYet, time_until, wait_for

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

# What non-blocking mode is given to hold (max-buffer-size, in MiB), and how much dockerd may grow:
# thrice that, for a queue of messages costs more than their bytes (moby daemon/logger/ring.go
# counts the bytes of lines alone). Blocking mode holds less, 2 to 4 MB a container.
BUFFER = 4
GROWTH = 3.0 * BUFFER

# A write that takes longer than this has held its program up; a healthy one takes milliseconds.
STALL = 1.0

# A message that is refused is given up after four attempts, a second apart (go-gelf tcpwriter.go);
# what was in the connection's buffers when it closed is lost too, at most some hundred kilobytes.
LOST_TO_REFUSAL = OUTAGE / 4 + 400

# The sender's next attempt comes within its second of waiting; then there is a megabyte to send.
WRITES_AGAIN = 10.0

# TCP tries again after 0.2 s and then after twice as long each time, for the eighth time at 51 s
# (Linux, tcp_retries2): that is 21 s after the heal, and the next would be at 102 s.
BY_TCP = 35.0

# Swarm starts a task at once, a slow machine in some seconds; one that failed starts again 5 s
# later.
STARTS = 20.0

QUIET, HELD_UP, ON_LEADER = "non-blocking", "blocking", "blocking-on-the-leader"
NON_BLOCKING = {"mode": "non-blocking", "max-buffer-size": f"{BUFFER}m"}

NEWCOMER = "time until a new container runs in the outage"
CHANGES = "changes of leader"


@dataclass(frozen=True)
class Case:
    """A way for the sink to fail, and what it may cost.

    ``lost``: lines of a blocking program, None for any number. ``writes_again``: seconds after the
    heal. ``starts``: whether the sink takes connections, so that a container must start.
    ``rate`` and ``line`` are each program's lines a second and bytes a line; ``by_name``: the sink
    is known to Docker by its name and not by its address.
    """

    fault: str
    lost: float | None = 0
    writes_again: float = WRITES_AGAIN
    starts: bool = True
    rate: int = RATE
    line: int = LINE
    by_name: bool = False


@pytest.mark.thorough
def test_sink_stalls(outage):
    """The collector accepts connections and reads nothing."""
    outage(Case("gelf_stalled"))


@pytest.mark.known_bug("moby/moby#21966", measures=[NEWCOMER])
def test_sink_refuses(outage):
    """The collector is down and its port refuses, and no container can start that logs to it."""
    outage(Case("refused", lost=LOST_TO_REFUSAL))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "case",
    [
        # Nothing is lost by slowness alone, and the buffers never run dry.
        Case("gelf_slow"),
        # What was on the way at each of the resets is lost, at the sender's every attempt.
        Case("gelf_reset", lost=None),
        # The driver dials without a timeout, so a new container waits as well.
        Case("black_hole", writes_again=BY_TCP, starts=False),
        # The name leads to the new place at once, for those who ask.
        Case("moved", writes_again=BY_TCP, by_name=True),
        # 90 thousand short lines a minute: a queue costs more beside their bytes.
        Case("gelf_stalled", rate=500, line=100),
    ],
    ids=["is-slow", "resets", "vanishes", "moves", "stalls-under-short-lines"],
)
def test_sink_fails_otherwise(case, outage):
    """The collector is slow, resets its connections, vanishes, moves, or is sent short lines."""
    outage(case)


@pytest.mark.control(
    f"{QUIET}: longest stall of a write",
    f"{HELD_UP}: lines lost",
    f"{QUIET}: dockerd's growth in the outage",
    NEWCOMER,
    CHANGES,
)
def test_control_all_goes_wrong(outage):
    """Modes the wrong way round, a buffer far too large, and the leader killed in the outage."""
    outage(
        Case("refused"),
        modes={QUIET: {}, HELD_UP: NON_BLOCKING | {"max-buffer-size": "64k"}, ON_LEADER: {}},
        hoarder=True,
        kill_leader=True,
    )


@pytest.mark.control(f"{HELD_UP}: time until it writes again after the heal")
def test_control_vanished_for_long(outage):
    """Packets that vanish leave TCP waiting long after they pass again, and the check says so."""
    outage(Case("black_hole", starts=False))


# By UDP nothing waits for a sink, so all that an outage can cost is its errors. A container's start
# and an error a line are a few MiB. A compressor is made anew for every message, and what that
# leaves to the garbage collector is tens of MiB, hundreds on a slow machine (moby#29282), within
# seconds.
UNCOMPRESSED = 16.0
GROWN = 15.0

# If the compressor is to blame, a sink that is alive costs at least half of what a dead port does.
COSTS_AS_WELL = 0.5

DEAD, DEAD_PLAIN, LIVE = "dead port, gzip", "dead port, no compression", "live sink, gzip"
PLAIN_NAME = f"{DEAD_PLAIN}: dockerd's growth"
SHARE_NAME = "share of the dead port's growth that a live sink costs as well"
GZIP = {}
PLAIN = {"gelf-compression-type": "none"}


@pytest.mark.thorough
def test_growth_by_udp_is_compression(growth_by_udp):
    """Memory that grows under a dead UDP port is the compressor's, and a live sink costs as much.

    Without the two others the dead port would be blamed, as it was in moby/moby#29282.
    """
    growth_by_udp({DEAD: GZIP, LIVE: GZIP, DEAD_PLAIN: PLAIN})


@pytest.mark.control(PLAIN_NAME, SHARE_NAME)
def test_control_compression_the_wrong_way_round(growth_by_udp):
    """Compression where none is said to be, and none at the live sink: the outage is blamed."""
    growth_by_udp({DEAD: GZIP, LIVE: PLAIN, DEAD_PLAIN: GZIP})


@pytest.fixture
def growth_by_udp(swarm, services, faults, memory, trial, measure):
    """Three programs log by UDP: to a dead port and to a live sink, and one is uncompressed."""

    def run(compression):
        live, dead = services.gelf_sink("gelf"), services.gelf_sink("gelf-dead")
        places = dict(zip((DEAD, LIVE, DEAD_PLAIN), [*swarm.workers, swarm.leader], strict=True))
        sinks = {DEAD: dead, LIVE: live, DEAD_PLAIN: dead}
        names = {case: f"writer-{number}" for number, case in enumerate(places)}
        wanted = [
            program(
                names[case],
                places[case],
                LogDriver("gelf", sinks[case].options("udp", compression[case])),
                line=200,
            )
            for case in places
        ]
        quiet = trial.clock.now()
        memory.start(places.values())
        time.sleep(BEFORE)
        with faults.service.refused(dead) as fault:
            logs = swarm.deploy(Workload("logs", (), tuple(wanted)))
            fault.hold(GROWN)
            written = ask({case: LogWriters(logs, names[case]) for case in places})
            until = trial.clock.now()
        grown = {}
        for case, node in places.items():
            before = memory.level(node, "anonymous", since=quiet, until=fault.began)
            peak = memory.peak(node, "anonymous", since=fault.began, until=until)
            grown[case] = difference(peak, before)
            measure(f"{case}: longest stall of a write", written[case].longest_stall, unit="s")
        measure(f"{DEAD}: dockerd's growth", mib(grown[DEAD]), unit="MiB")
        measure(f"{LIVE}: dockerd's growth", mib(grown[LIVE]), unit="MiB")
        measure(PLAIN_NAME, mib(grown[DEAD_PLAIN]), unit="MiB").below(
            UNCOMPRESSED, source="moby/moby#29282: much less with gelf-compression-type=none"
        )
        share = grown[LIVE] / grown[DEAD] if grown[LIVE] and grown[DEAD] else None
        measure(SHARE_NAME, share, unit="1", better="higher").above(COSTS_AS_WELL)

    return run


@pytest.fixture
def outage(swarm, services, faults, memory, leadership, trial, measure):
    """A collector fails under three programs; all that is asked of them is put on record."""

    def run(case, *, modes=None, hoarder=False, kill_leader=False):
        sink = services.gelf_sink()
        leader = swarm.leader
        places = dict(zip((QUIET, HELD_UP, ON_LEADER), [*swarm.workers, leader], strict=True))
        modes = modes or {QUIET: NON_BLOCKING, HELD_UP: {}, ON_LEADER: {}}
        host = sink.hostname if case.by_name else sink.address
        wanted = [
            writer(name, places[name], sink, host, modes[name], rate=case.rate, line=case.line)
            for name in places
        ]
        if hoarder:
            # 16 KiB is what the driver takes for one message
            large = {"mode": "non-blocking", "max-buffer-size": "128m"}
            wanted.append(writer("hoarder", places[QUIET], sink, host, large, rate=160, line=16000))
        logs = swarm.deploy(Workload("logs", (), tuple(wanted)))
        programs = {name: LogWriters(logs, name) for name in places}
        calm = trial.clock.now()
        memory.start(places.values())
        time.sleep(BEFORE)

        with getattr(faults.service, case.fault)(sink) as fault, ExitStack() as stack:
            beside = swarm.create(
                Workload(
                    "beside", (), (writer("newcomer", places[HELD_UP], sink, host, {}, rate=1),)
                )
            )
            newcomer = beside.time_to_running("newcomer", within=STARTS)
            if kill_leader:
                outage = stack.enter_context(faults.kill_dockerd(leader))
                leadership.time_to_new_leader(
                    other_than=leader, since=outage.injected_at, within=OUTAGE
                )
            fault.hold(OUTAGE)
            in_outage = ask(programs)
        writing = {
            name: time_until(
                lambda name=name: writes(programs[name], in_outage[name]),
                state=f"{name} to write again",
                within=OUTAGE + WRITES_AGAIN,
                since=fault.healed_at,
                every=0.25,
            )
            for name in (HELD_UP, QUIET)
        }
        started = beside.time_to_running("newcomer", since=fault.healed_at, within=STARTS + OUTAGE)
        time.sleep(max(0.0, fault.healed_at + AFTER - time.monotonic()))

        sent = ask(programs)
        accounts = settled_accounts(sink, sent)
        healed = trial.clock.at(fault.healed_at)
        windows = (calm, fault.began), (fault.began, healed), (healed, trial.clock.now())
        for name, node in places.items():
            account = accounts[sent[name].task]
            stall = measure(f"{name}: longest stall of a write", sent[name].longest_stall, unit="s")
            measure(f"{name}: lines sent", account.sent, unit="lines", better="higher")
            lost = measure(f"{name}: lines lost", account.lost, unit="lines", note=gaps(account))
            measure(f"{name}: lines delivered twice", account.duplicates, unit="lines")
            if name == QUIET:
                stall.below(STALL, source="moby daemon/logger/ring.go: it never waits")
            if name == HELD_UP and case.lost is not None:
                lost.below(case.lost, source="go-gelf tcpwriter.go: 4 attempts at 1 s a message")
            put_memory_on_record(measure, memory, name, node, windows)
        again = {
            name: measure(f"{name}: time until it writes again after the heal", took, unit="s")
            for name, took in writing.items()
        }
        again[HELD_UP].below(case.writes_again, source="go-gelf tcpwriter.go; Linux tcp_retries2")
        told = measure(NEWCOMER, newcomer, unit="s")
        if case.starts:
            told.below(STARTS - 1, source="a start, or one more 5 s later (swarm's restart delay)")
        measure("time until it runs after the heal", started, unit="s")
        changes = [
            view
            for view in leadership.views()
            if fault.began <= view.t <= healed + AFTER and view.leader == view.by
        ]
        measure(CHANGES, len(changes), unit="1").equals(0)

    return run


def writer(name, node, sink, host, mode, *, rate=RATE, line=LINE):
    """A program that writes numbered lines on one node, through the GELF driver over TCP."""
    return program(
        name, node, LogDriver("gelf", sink.options("tcp", mode, host=host)), rate=rate, line=line
    )


def program(name, node, log, *, rate=RATE, line=LINE):
    """A program that writes numbered lines on one node."""
    return Service(
        name,
        WORKLOAD_TAGS["logwriter"],
        (),
        constraints=(f"node.hostname=={node.name}",),
        env={"LINES_PER_SECOND": str(rate), "LINE_BYTES": str(line)},
        log=log,
    )


def ask(programs):
    """What each program says of itself; each is one task."""
    return {name: next(iter(found.ask().values())) for name, found in programs.items()}


def writes(program, before):
    """Whether a program has written since ``before``, and is not held up now."""
    [now] = program.ask().values()
    if now.written > before.written and now.current_stall < STALL:
        return True
    return NotYet(f"{now.written - before.written} lines since; held up for {now.current_stall} s")


def settled_accounts(sink, sent):
    """What became of all lines that were sent, once no more of them arrive for 3 s."""
    numbers = {each.task: each.written for each in sent.values()}
    last = {"lost": math.inf, "since": time.monotonic()}

    def settled():
        accounts = sink.accounts(numbers)
        lost = sum(account.lost for account in accounts.values())
        if lost < last["lost"]:
            last.update(lost=lost, since=time.monotonic())
        if lost and time.monotonic() < last["since"] + 3:
            return NotYet(f"{lost} lines have not arrived")
        return accounts

    return wait_for(settled, state="the last lines to arrive", within=60, every=0.5)


def gaps(account):
    """Where the lost lines were, for a reader."""
    shown = ", ".join(f"{first} to {end - 1}" for first, end in account.gaps[:3])
    more = len(account.gaps) - 3
    return f"{shown}{f' and {more} more gaps' if more > 0 else ''}"


def put_memory_on_record(measure, memory, name, node, windows):
    """How far a dockerd grew in the outage, how steadily, and what of it stayed."""
    before, during, after = windows
    level = memory.level(node, "anonymous", since=before[0], until=before[1])
    peak = memory.peak(node, "anonymous", since=during[0], until=during[1])
    middle = (after[0] + after[1]) / 2
    left = memory.level(node, "anonymous", since=middle, until=after[1])
    trend = memory.growth(node, "anonymous", since=during[0], until=during[1])
    measure(f"{name}: dockerd before", mib(level), unit="MiB")
    grown = measure(
        f"{name}: dockerd's growth in the outage", mib(difference(peak, level)), unit="MiB"
    )
    measure(f"{name}: dockerd's growth that stayed", mib(difference(left, level)), unit="MiB")
    measure(
        f"{name}: dockerd's slope in the outage",
        trend and trend.slope * 60 / MIB,
        unit="MiB/min",
        note=(trend and f"95 %: {trend.low * 60 / MIB:.1f} to {trend.high * 60 / MIB:.1f}") or "",
    )
    if name == QUIET:
        grown.below(GROWTH, source="moby daemon/logger/ring.go, moby#41539")


def difference(one, other):
    """None when one of them could not be had."""
    return None if one is None or other is None else one - other


def mib(number):
    """Bytes as MiB."""
    return None if number is None else number / MIB
