"""A topology in a file: what it says, where an error in it is, and that nothing of it is lost."""

from __future__ import annotations

import json
import string
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugin_options import given_options as options

from harness.cli.run_on import split_options
from harness.docgen.scenario_schema import topology_schema
from harness.errors import HarnessError, UsageError
from harness.faults import topology_setup
from harness.faults.toml_file import position
from harness.faults.topology_file import (
    LinkTable,
    NodeTable,
    Standing,
    TopologyFile,
    given_swarm,
    given_topology,
    recorded_nodes,
)
from harness.faults.topology_setup import require_possible
from harness.lab import Topology
from harness.pytest_plugin.guest_runner import Assignment, warm_up_of
from harness.pytest_plugin.markers import TrialPoint
from harness.pytest_plugin.trial_request import TrialRequest
from harness.swarm import balanced_web
from harness.vm.machine import Clock

EXAMPLE = Path(__file__).parents[2] / "examples" / "racks" / "racks.toml"

SITES = """\
name = "two-sites"
nodes = "3m2w1s"

[domain]
east = ["m1", "m2", "w1"]
west = ["m3", "w2", "s1"]

[node.managers]
engine = "20.10.24"

[node.workers]
engine = "28.5.2"
labels = { disk = "hdd", kept = "yes" }

[node.w1]
labels = { disk = "ssd" }
memory = "768MiB"
cpus = 0.5

[[link]]
between = ["east", "west"]
delay = "20ms"
jitter = "2ms"

[[link]]
between = ["w1", "*"]
loss = "1%"
"""


def written(folder: Path, text: str = SITES) -> Path:
    path = folder / "sites.toml"
    path.write_text(text)
    return path


def test_a_file_says_what_each_node_has(tmp_path: Path) -> None:
    file = TopologyFile.load(written(tmp_path))
    workers = {"w1": "28.5.2", "w2": "28.5.2"}
    assert (file.engine, file.topology) == ("20.10.24", Topology(3, 2, 1, workers))
    assert file.labels == {
        **{m: {"domain": "east"} for m in ("m1", "m2")},
        "m3": {"domain": "west"},
        "w1": {"domain": "east", "disk": "ssd", "kept": "yes"},
        "w2": {"domain": "west", "disk": "hdd", "kept": "yes"},
    }
    assert file.standing == [
        Standing("memory-limited", "w1", {"limit": "768MiB"}),
        Standing("cpu-limited", "w1", {"share": "0.5"}),
        Standing("network-impaired", "m1 m2 w1 <-> m3 w2 s1", {"delay": "20ms", "jitter": "2ms"}),
        Standing("network-loss", "w1 <-> *", {"share": "1%"}),
    ]


def test_the_same_engines_are_the_same_nodes_however_they_were_given(tmp_path: Path) -> None:
    """A snapshot is found by these: a file shares that of the command line."""
    text = SITES.replace("3m2w1s", "3m2w").replace(', "s1"', "")
    file = TopologyFile.load(written(tmp_path, text))
    asked = options(engine=["20.10.24:managers,28.5.2:workers"], topology="3m2w")
    assert asked.topology is not None
    assert str(file.topology) == str(asked.topology.with_engines(asked.role_engines))
    assert asked.engines == (file.engine,)


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ('name = "two-sites"', "name = two", "not valid TOML.*line 1, column 8"),
        ('name = "two-sites"\n', "", "sites.toml: .*missing required field `name`"),
        ('"two-sites"', '"Two Sites"', r"\(line 1, column 1\): 'Two Sites' is not a valid name"),
        ('"3m2w1s"', '"3x"', r"\(line 2, column 1\): '3x' is not a valid topology"),
        ('"3m2w1s"', '"3m2w1s,w1=26.1.5"', r"\(line 2, column 1\): engines are given below"),
        ('"w1"]', '"w9"]', r"\(line 5, column 1\): there is no node 'w9'"),
        ('"w1"]', '"m3"]', r"\(line 6, column 1\): m3 is in east already"),
        ("east = [", "workers = [", r"\(line 5, .*'workers' is not a valid name"),
        ("[node.managers]", "[node.leaders]", r"\(line 8, column 1\): there is no node 'leaders'"),
        ('"28.5.2"', '"28.5"\nspeed = 1', r"\(line 11, column 1\): .*unknown field `speed`"),
        ('"28.5.2"', '"newish"', r"\(line 12, column 1\): unknown engine 'newish'"),
        ("[node.w1]", "[node.s1]", r"\(line 16, column 1\): a spare is in no swarm"),
        ('disk = "ssd"', 'domain = "x"', r"\(line 16, column 1\): the label domain"),
        ('"768MiB"', '"768"', r"\(line 17, column 1\): .*'768' is not a valid size"),
        ('"768MiB"', "768", r"\(line 17, column 1\): Expected `str"),
        ("cpus = 0.5", "cpus = 2", r"\(line 18, column 1\): .*'2' is not a valid share"),
        ('["east", "west"]', '["east", "north"]', r"\(line 21, .*no node, role or domain 'north'"),
        ('["east", "west"]', '["east", "m2"]', r"\(line 21, .*no link from m2 to itself"),
        ('["w1", "*"]', '["*", "*"]', r"\(line 26, .*no link from all to itself"),
        ('["east", "west"]', '["east"]', r"\(line 21, column 1\): Expected `array` of length 2"),
        ('delay = "20ms"', 'loss = "1%"', r"\(line 23, column 1\): jitter is around a delay"),
        ('loss = "1%"', "", r"\(line 26, column 1\): it does nothing"),
        ('loss = "1%"', 'delay = "1ms"', r"\(line 26, .*from m3 to w1, too: a packet cannot be"),
        ('loss = "1%"', 'loss = "101%"', r"\(line 25, column 1\): .*'101%' is not a valid share"),
    ],
)  # fmt: skip
def test_an_error_says_where_it_is(tmp_path: Path, right: str, wrong: str, sentence: str) -> None:
    assert SITES.count(right)
    text = wrong.join(SITES.rsplit(right, 1))
    with pytest.raises(UsageError, match=sentence):
        TopologyFile.load(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*nothing\.toml"):
        options(topology=str(tmp_path / "nothing.toml"))


def test_a_line_is_found_below_its_table() -> None:
    text = "[[a]]\nx = 1\n[[a]]\n  y = 2\n[b.c]\nx = 3\n[d]\ne = {x = 1}\n"
    assert position(text, ".a[1].y") == " (line 4, column 3)"
    assert position(text, ".a[1].x") == " (line 3, column 1)"
    assert position(text, ".b.c.x") == " (line 6, column 1)"
    assert position(text, ".d.e.x") == " (line 8, column 1)"
    assert position(text, ".z") == ""


words = st.text(string.ascii_lowercase, min_size=1, max_size=8)
tables = st.builds(
    NodeTable,
    engine=st.sampled_from([None, "20.10.24", "28.5.2", "dir:/opt/docker"]),
    labels=st.dictionaries(words.filter(lambda word: word != "domain"), st.text(max_size=5)),
    memory=st.sampled_from([None, "64MiB", "1GiB"]),
    cpus=st.sampled_from([None, 0.25, 1.0]),
)


@st.composite
def files(draw: st.DrawFn) -> TopologyFile:
    names = ["m1", "m2", "m3", "w1", "w2"]
    order = draw(st.permutations(names))
    cut = draw(st.integers(0, 5))
    groups = {"east": list(order[:cut]), "west": list(order[cut:])}
    domain = {name: group for name, group in groups.items() if group}
    loss = draw(st.sampled_from([None, "1%"]))
    delay = draw(st.sampled_from([None, "5ms"] if loss else ["5ms"]))
    jitter = draw(st.sampled_from([None, "1ms"])) if delay else None
    links = [LinkTable(between=("managers", "workers"), delay=delay, jitter=jitter, loss=loss)]
    return TopologyFile(
        name=draw(words),
        nodes="3m2w",
        domain=draw(st.sampled_from([{}, domain])),
        node=draw(st.dictionaries(st.sampled_from([*names, "managers", "workers"]), tables)),
        link=draw(st.sampled_from([[], links])),
    )


@given(files())
def test_nothing_is_lost_on_the_way_into_a_guest_or_a_trials_folder(file: TopologyFile) -> None:
    again = TopologyFile.parse(file.text)
    assert (again, again.id, again.text) == (file, file.id, file.text)
    assert given_topology(file.text) == (file.topology, file)
    assert recorded_nodes(f"{file.topology}@{file.id}") == file.topology


@given(files(), files())
def test_two_files_of_one_name_are_told_apart(one: TopologyFile, other: TopologyFile) -> None:
    other = msgspec.structs.replace(other, name=one.name)
    assert (one.id == other.id) == (one == other)


def test_a_record_without_a_file_is_read_as_ever() -> None:
    assert recorded_nodes("3m2w,w1=20.10.24") == Topology(3, 2, engines={"w1": "20.10.24"})
    pinned = "1m1w,w1=image:docker@sha256:0123456789abcdef"
    assert recorded_nodes(pinned).engines == {"w1": "image:docker@sha256:0123456789abcdef"}


# -- on the command line -------------------------------------------------------------------------


def test_the_file_says_the_trials_engine(tmp_path: Path) -> None:
    path = str(written(tmp_path))
    assert options(topology=path).engines == ("20.10.24",)
    assert options(topology=path, engine=["20.10.24"]).engines == ("20.10.24",)
    with pytest.raises(UsageError, match=r"--engine 26\.1\.5: .* says that m1 has 20\.10\.24"):
        options(topology=path, engine=["26.1.5"])
    with pytest.raises(UsageError, match="gives roles an engine, and so does"):
        options(topology=path, engine=["26.1.5:managers,28.5.2:workers"])
    assert given_swarm(path, None)[1] == "20.10.24"
    assert given_swarm("1m", None) == (Topology(), "stable", None)


def test_roles_of_a_file_without_engines_can_be_given_some(tmp_path: Path) -> None:
    bare = 'name = "bare"\nnodes = "1m1w"\n'
    found = options(
        topology=str(written(tmp_path, bare)), engine=["26.1.5:managers,28.5.2:workers"]
    )
    assert (found.engines, found.role_engines) == (("26.1.5",), {})
    assert found.topology == Topology(1, 1, engines={"w1": "28.5.2"})
    assert found.topology_file is not None
    assert found.topology_file.is_bare
    assert found.topology_file.id != TopologyFile.load(tmp_path / "sites.toml").id


def request_of(file: TopologyFile) -> TrialRequest:
    point = TrialPoint("20.10.24", 1)
    return TrialRequest("t", point, file.topology, serving=balanced_web(), file=file)


def test_the_record_has_the_name_and_the_guest_what_the_file_says(tmp_path: Path) -> None:
    file = TopologyFile.load(written(tmp_path))
    request = request_of(file)
    assignment = Assignment(_Item(), request, topology_given=True)  # type: ignore[arg-type]
    [said] = [arg for arg in assignment.args() if arg.startswith("--topology=")]
    there = options(topology=said.partition("=")[2], engine=["20.10.24"])
    assert (there.topology_file, there.topology) == (file, file.topology)


class _Item:
    nodeid = "test_x.py::test_x"

    def get_closest_marker(self, name: str) -> None:
        """Has none."""


def test_a_workload_is_deployed_on_what_the_file_says_and_not_before(tmp_path: Path) -> None:
    """A snapshot's warm-up knows no labels, and a service may ask for one."""
    assert warm_up_of(request_of(TopologyFile.load(written(tmp_path))), Clock.VIRTUAL) is None
    bare = TopologyFile.load(written(tmp_path, 'name = "bare"\nnodes = "1m1w"\n'))
    assert warm_up_of(request_of(bare), Clock.VIRTUAL) is not None


def test_a_worker_of_a_cluster_gets_what_the_file_says(tmp_path: Path) -> None:
    path = written(tmp_path)
    text = TopologyFile.load(path).text
    assert split_options(["--topology", str(path)]) == ({}, [f"--topology={text}"])
    assert split_options(["--topology=3m"]) == ({}, ["--topology=3m"])


# -- where it is possible ------------------------------------------------------------------------


@pytest.mark.parametrize("lab", ["ssh", "vagrant"])
def test_limits_and_delays_are_refused_on_machines(tmp_path: Path, lab: str) -> None:
    with pytest.raises(UsageError, match=f"memory-limited on w1, and the lab {lab} can set"):
        require_possible(TopologyFile.load(written(tmp_path)), lab)


def test_a_kernel_without_netem_is_said_before_nodes_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = TopologyFile.load(written(tmp_path))
    monkeypatch.setattr(topology_setup, "_controllers", lambda: {"cpu", "memory"})
    monkeypatch.setattr(topology_setup, "probe_features", lambda: _Kernel("nftables", "htb"))
    with pytest.raises(HarnessError, match=r"network-impaired on .* which needs netem"):
        require_possible(file, "namespaces")
    monkeypatch.setattr(topology_setup, "probe_features", lambda: _Kernel("nftables"))
    require_possible(TopologyFile.load(EXAMPLE), "namespaces")
    monkeypatch.setattr(topology_setup, "_controllers", lambda: {"cpu"})
    with pytest.raises(HarnessError, match="needs the cgroup controller memory"):
        require_possible(file, "namespaces")


class _Kernel:
    def __init__(self, *features: str) -> None:
        self._features = features

    def has(self, name: str) -> bool:
        return name in self._features


@pytest.mark.parametrize(("nodes", "refused"), [("3m", True), ("3m1w", False), ("1m", False)])
def test_a_link_from_all_nodes_to_all_others_is_refused_where_it_is_written(
    nodes: str, refused: bool, tmp_path: Path
) -> None:
    text = f'name = "x"\nnodes = "{nodes}"\n[[link]]\nbetween = ["managers", "*"]\nloss = "1%"\n'
    said = pytest.raises(UsageError, match=r"\(line 4, column 1\): all nodes are at one end")
    with said if refused else nullcontext():
        TopologyFile.load(written(tmp_path, text))


def test_the_schema_is_that_of_the_model() -> None:
    schema = json.loads(topology_schema())
    assert schema["$defs"]["TopologyFile"]["required"] == ["name", "nodes"]
    assert schema["$defs"]["NodeTable"]["additionalProperties"] is False
