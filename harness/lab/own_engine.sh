#!/bin/sh
# Run a Docker Engine as a machine's own: in the pid and cgroup namespaces of this side, but with a
# root file system and a network of its own, so that nothing of the machine's is touched.
#
#   own_engine.sh DIR ROOTFS LABS CGROUP_LAYOUT
#
# Runs in a mount and a network namespace of its own and becomes dockerd. Containers of it may bind
# what is below LABS, which has the same path inside.
set -eu
dir=$1 rootfs=$2 labs=$3 layout=$4

root=$dir/root
mkdir -p "$dir/upper" "$dir/work" "$dir/data" "$root"
ip link set lo up
mount -t overlay overlay -o "lowerdir=$rootfs,upperdir=$dir/upper,workdir=$dir/work" "$root"
mkdir -p "$root/var/lib/docker"
mount --bind "$dir/data" "$root/var/lib/docker"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mkdir -p "$root$labs"
mount --bind "$labs" "$root$labs"
if [ -d /lib/modules ]; then
    mkdir -p "$root/lib/modules"
    mount --rbind -o ro /lib/modules "$root/lib/modules"
fi

if [ "$layout" = v2 ]; then
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/sys/fs/cgroup"
    while IFS=: read -r _ controllers _; do
        [ -n "$controllers" ] || continue
        mkdir "$root/sys/fs/cgroup/${controllers#name=}"
        mount -t cgroup -o "nosuid,nodev,noexec,$controllers" cgroup \
            "$root/sys/fs/cgroup/${controllers#name=}"
    done </proc/self/cgroup
fi

# pivot_root and not chroot: what the engine starts would find the host's root again.
cd "$root"
mkdir -p mnt
pivot_root . mnt
umount -l /mnt
exec chroot . dockerd --host="unix://$dir/docker.sock" --group=root --bridge=none \
    --iptables=false --exec-opt=native.cgroupdriver=cgroupfs </dev/null
