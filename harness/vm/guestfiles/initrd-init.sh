#!/bin/busybox sh
# First program of the guest, from the initrd: makes the pmem devices appear, mounts the one
# that holds the root file system and hands over to init.sh there. The devices' numbers follow
# no order, so they are told apart by their sizes, given on the kernel command line.
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys

fail() { echo "microvm: $*" >/dev/console; busybox reboot -f; }

for word in $(busybox cat /proc/cmdline); do
    case $word in
        microvm.root=*) root_size=${word#*=} ;;
    esac
done

while read -r module; do
    busybox insmod "/modules/$module" || fail "cannot load $module"
done </modules/first

# Whatever the guest's containers and faults will want, before anything else runs; one that this
# kernel refuses is said and done without.
while read -r module; do
    busybox insmod "/modules/$module" || echo "microvm: no module $module" >/dev/console
done </modules/then

[ -n "$root_size" ] || fail "no root on the command line"
tries=0
root=
while [ -z "$root" ]; do
    for size in /sys/block/pmem*/size; do
        [ -e "$size" ] || continue
        if [ "$(($(busybox cat "$size") * 512))" = "$root_size" ]; then
            root=${size#/sys/block/}
            root=/dev/${root%/size}
        fi
    done
    [ -n "$root" ] && break
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || fail "no pmem device of $root_size bytes"
    busybox usleep 50000
done

# noinit_itable: no background thread that goes on initialising the file system.
busybox mount -t ext4 -o noatime,noinit_itable "$root" /root || fail "cannot mount $root"
busybox mount -t tmpfs -o mode=0755 run /root/run
busybox mkdir -p /root/run/microvm
busybox cp /init.sh /root/run/microvm/init.sh
busybox mount --move /dev /root/dev
busybox mount --move /proc /root/proc
busybox mount --move /sys /root/sys
exec busybox switch_root /root /bin/sh /run/microvm/init.sh
