#!/bin/sh
# Bring up one client host: a network namespace on the fabric for clients and external services.
#
#   client-host-up.sh NAME FABRIC_NS ADDRESS/PREFIX MAC
#
# Same words as node-up.sh. Only the network is its own.
set -eu
name=$1 fabric=$2 address=$3 mac=$4

exec 3>&1 >&2 # words to the maker on the pipe, all else to the log
read -r pid _ </proc/self/stat
echo "pid $pid" >&3
ip link set lo up
ip link add eth0 address "$mac" type veth peer name "$name" netns "$fabric"
ip address add "$address" dev eth0
ip link set eth0 up
nsenter --net="$fabric" ip link set "$name" master fabric up
echo ready >&3
exec 3>&-
exec env --ignore-signal=CHLD,INT,TERM,HUP sleep infinity </dev/null >/dev/null 2>&1
