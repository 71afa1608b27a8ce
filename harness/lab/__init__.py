"""Labs: where nodes live. Knows engines and kernels, and nothing of swarms."""

from harness.lab.features import FEATURES, KernelFeatures, probe_features
from harness.lab.local_lab import labs_folder
from harness.lab.namespaces import NamespacesLab
from harness.lab.nsenter import Completed
from harness.lab.protocols import ClientHost, Dockerd, Lab, Node
from harness.lab.topology import Place, Topology

__all__ = [
    "FEATURES",
    "ClientHost",
    "Completed",
    "Dockerd",
    "KernelFeatures",
    "Lab",
    "NamespacesLab",
    "Node",
    "Place",
    "Topology",
    "labs_folder",
    "probe_features",
]
