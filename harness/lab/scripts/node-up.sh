#!/bin/sh
# Bring up one node. Runs as process 1 of the node's pid namespace, in mount, network, uts, ipc
# and cgroup namespaces of its own, and stays as the node's init.
#
#   node-up.sh NAME NODE_DIR ROOTFS FABRIC_NS ADDRESS/PREFIX MAC CGROUP_LAYOUT
#
# Says on standard output: "pid N" (as the host counts) at once, "ready" when the node stands.
# The host's /proc is still mounted when it starts: that is how it knows its pid there.
set -eu
name=$1 dir=$2 rootfs=$3 fabric=$4 address=$5 mac=$6 layout=$7

exec 3>&1 >&2 # words to the maker on the pipe, all else to the log
read -r pid _ </proc/self/stat
echo "pid $pid" >&3

hostname "$name" 2>/dev/null || echo "$name" >/proc/sys/kernel/hostname

# One cable: eth0 here, an end of the node's name in the fabric's namespace.
ip link set lo up
lay_cable() { ip link add eth0 address "$mac" type veth peer name "$name" netns "$fabric"; }
# The kernel takes its time to remove the cable of a node that was killed.
lay_cable 2>/dev/null || {
    nsenter --net="$fabric" ip link delete "$name" 2>/dev/null || true
    lay_cable
}
ip address add "$address" dev eth0
ip link set eth0 up
nsenter --net="$fabric" ip link set "$name" master fabric up

root=$dir/root
mount -t overlay overlay -o "lowerdir=$rootfs,upperdir=$dir/upper,workdir=$dir/work" "$root"
mount --bind "$dir/data" "$root/var/lib/docker"

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# Of a node's own these are only for the way of a program that does not look: root can undo it.
mount --bind /dev/null "$root/proc/sysrq-trigger" 2>/dev/null || true
mount -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"

mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue" "$root/dev/net"
for device in null zero full random urandom tty net/tun; do
    [ -e "/dev/$device" ] || continue
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
mount -t mqueue mqueue "$root/dev/mqueue" 2>/dev/null || true
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"

if [ -d /lib/modules ]; then # dockerd asks modprobe for what the kernel may hold as modules
    mkdir -p "$root/lib/modules"
    mount --rbind -o ro /lib/modules "$root/lib/modules" 2>/dev/null || true
fi

if [ "$layout" = v2 ]; then
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/sys/fs/cgroup"
    while IFS=: read -r _ controllers _; do
        [ -n "$controllers" ] || continue
        at=${controllers#name=}
        mkdir "$root/sys/fs/cgroup/$at"
        mount -t cgroup -o "nosuid,nodev,noexec,$controllers" cgroup "$root/sys/fs/cgroup/$at"
        for one in $(echo "$at" | tr , ' '); do
            [ "$one" = "$at" ] || ln -s "$at" "$root/sys/fs/cgroup/$one"
        done
    done </proc/self/cgroup
fi

# The engine's API comes out into the node's folder, which only its owner may enter.
mkdir -p "$root/run/swarm-chaos"
mount --bind "$dir/api" "$root/run/swarm-chaos"
ln -s swarm-chaos/docker.sock "$root/run/docker.sock"

cd "$root"
mkdir -p mnt
pivot_root . mnt
umount -l /mnt

echo ready >&3
exec 3>&-
# Orphans come to process 1: with SIGCHLD ignored the kernel reaps them (a shell's own trap does
# not reach that far). Stop signals from within are not for an init.
exec chroot . env --ignore-signal=CHLD,INT,TERM,HUP /bin/sleep infinity </dev/null >/dev/null 2>&1
