"""A kernel to boot, and the modules that guests need from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PMEM_MODULES = ("libnvdimm", "nfit", "nd_btt", "nd_pmem")
"""What the initrd loads so that the NVDIMMs become ``/dev/pmemN``."""

GUEST_MODULES = (
    "overlay",
    "veth",
    "bridge",
    "br_netfilter",
    "vxlan",
    "dummy",
    "ifb",
    "tun",
    "ip_vs",
    "ip_vs_rr",
    "xt_ipvs",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_nat",
    "xt_conntrack",
    "xt_addrtype",
    "xt_MASQUERADE",
    "xt_REDIRECT",
    "xt_mark",
    "xt_nat",
    "xt_tcpudp",
    "xt_comment",
    "xt_multiport",
    "xt_statistic",
    "xt_u32",
    "xt_bpf",
    "xt_policy",
    "nft_compat",
    "nft_chain_nat",
    "nft_ct",
    "nf_tables",
    "ip_tables",
    "iptable_filter",
    "iptable_nat",
    "iptable_mangle",
    "ip6_tables",
    "ip6table_filter",
    "ip6table_nat",
    "ip6table_mangle",
    "sch_netem",
    "sch_tbf",
    "sch_prio",
    "sch_htb",
    "sch_ingress",
    "cls_u32",
    "cls_bpf",
    "act_mirred",
)
"""What guests load before anything else starts: containers and faults would otherwise pull
modules in at moments of their own. What a kernel has not, or has built in, is left out."""


@dataclass(frozen=True)
class Kernel:
    """A bootable kernel: ``version`` as ``uname -r`` says it, the image, and the folder that
    becomes ``/lib/modules/<version>``."""

    version: str
    vmlinuz: Path
    modules: Path
