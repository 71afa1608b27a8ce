#!/bin/sh
# Process 1 of the guest, on its root file system: what a distribution's init would do and no
# more, then one command. It stays to reap orphans, and when the command ends it ends the machine,
# by a restart: harness/vm/guest_init.py says why.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8
export PYTHONPATH=/opt/microvm/site

say() { echo "microvm: $*"; }
stop() {
    say "$*"
    sync
    busybox reboot -f
}

cgroup=2
for word in $(cat /proc/cmdline); do
    case $word in
        microvm.inbox=*) inbox_size=${word#*=} ;;
        microvm.cgroup=*) cgroup=${word#*=} ;;
    esac
done

mkdir -p /dev/pts /dev/shm /run/lock /tmp
mount -t devpts -o gid=5,mode=620 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
mount --make-rshared /
ln -sfn /proc/self/fd /dev/fd
hostname microvm
ip link set lo up

if [ "$cgroup" = 1 ]; then
    mount -t tmpfs -o mode=0755 cgroup /sys/fs/cgroup
    while read -r name hierarchy count enabled; do
        case $name in '#'*) continue ;; esac
        [ "$enabled" = 1 ] || continue
        mkdir -p "/sys/fs/cgroup/$name"
        mount -t cgroup -o "$name" "$name" "/sys/fs/cgroup/$name" || say "no cgroup v1 $name"
    done </proc/cgroups
else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi

# Copied into every network namespace made from here on; without it no routing mesh.
echo 1 >/proc/sys/net/ipv4/ip_forward

for size in /sys/block/pmem*/size; do
    if [ "$(($(cat "$size") * 512))" = "$inbox_size" ]; then
        inbox=${size#/sys/block/}
        inbox=/dev/${inbox%/size}
    fi
done
[ -n "$inbox" ] || stop "no inbox of $inbox_size bytes"
mkdir -p /run/microvm/boot /var/lib/microvm
dd if="$inbox" bs=1M iflag=skip_bytes skip=4096 status=none | tar -x -C /run/microvm/boot ||
    stop "the inbox holds no tar"
mkdir -p /var/lib/microvm/code
tar -x -C /var/lib/microvm/code -f /run/microvm/boot/payload.tar || stop "no payload"
export PYTHONPATH="/var/lib/microvm/code:$PYTHONPATH"
cd /var/lib/microvm/code
say "boot command starts"
sh /run/microvm/boot/command.sh
stop "boot command ended with $?"
