"""Labs: where nodes live. Knows engines and kernels, and nothing of swarms."""

from harness.lab.client_host import ClientHost
from harness.lab.dockerd import Dockerd
from harness.lab.features import FEATURES, KernelFeatures, probe_features
from harness.lab.namespaces import NamespacesLab, labs_folder
from harness.lab.node import Node
from harness.lab.nsenter import Completed
from harness.lab.topology import Place, Topology

__all__ = [
    "FEATURES",
    "ClientHost",
    "Completed",
    "Dockerd",
    "KernelFeatures",
    "NamespacesLab",
    "Node",
    "Place",
    "Topology",
    "labs_folder",
    "probe_features",
]
