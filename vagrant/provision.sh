#!/usr/bin/env bash
# Makes a fresh Debian machine one that has every lab of the harness. Run as root; may be run again.
set -euo pipefail
project=${1:?the folder the project lies in}

export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends make rsync

# What the namespaces lab takes from the kernel: nodes see no modules of the host, so they are
# loaded here, and at every boot.
cat >/etc/modules-load.d/swarm-chaos.conf <<'MODULES'
br_netfilter
ip_vs
ip_vs_rr
overlay
sch_netem
vxlan
xt_ipvs
MODULES
while read -r module; do
    modprobe "$module" || echo "provision: this kernel has no module $module" >&2
done </etc/modules-load.d/swarm-chaos.conf

# New network namespaces copy it from the first one; the routing mesh needs it there.
echo 'net.ipv4.ip_forward = 1' >/etc/sysctl.d/50-swarm-chaos.conf
sysctl -q -p /etc/sysctl.d/50-swarm-chaos.conf

make -C "$project" setup
make -C "$project" doctor
