# Switch a node on: its cgroups, then node-up.sh in namespaces of its own below the keeper.
#
#   boot.sh LAB LAB_ID JANITOR KEEPER NAME ROOTFS ADDRESS/PREFIX MAC CGROUP_LAYOUT
#
# The files for the node's /etc come as a tar on standard input. Says "group PATH" for each group
# that later processes of the node are to join, then what node-up.sh says.
set -eu
lab=$1 id=$2 janitor=$3 keeper=$4 name=$5
shift 5
node=$lab/nodes/$name
mkdir -p "$node"
chmod 711 "$lab" "$lab/nodes" "$node"
for part in upper/etc upper/var/lib/docker work root data api; do
    mkdir -p "$node/$part"
done
chmod 711 "$node/api" "$node/data"
rm -f "$node/api/docker.sock"
tar -x -C "$node/upper/etc"

mounts=/proc/$janitor/root$lab/cgroup
groups=
for mount in "$mounts"/v2 "$mounts"/v1/*; do
    group=$mount/swarm-chaos/$id/$name
    [ -d "${group%/*}" ] || continue
    # What ran on a node that was killed may still be dying, and a group of version 2 that was
    # handed on takes no process: it has to go first.
    looks=0
    while [ -d "$group" ] && [ "$looks" -lt 200 ]; do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
        looks=$((looks + 1))
    done
    mkdir -p "$group"
    for file in cpuset.cpus cpuset.mems; do # version 1 takes no process into an empty cpuset
        [ ! -e "$group/$file" ] || [ -n "$(cat "$group/$file")" ] ||
            cat "${group%/*}/$file" >"$group/$file"
    done
    groups="$groups $group"
done

mkfifo "$node/words" 2>/dev/null || true
(
    for group in $groups; do echo 0 >"$group/cgroup.procs"; done
    # The inner shell ends at once, so the node comes to the keeper.
    exec nsenter --target="$keeper" --pid -- sh -c '"$@" &' sh \
        unshare --mount --uts --ipc --net --cgroup --pid --fork --kill-child -- \
        sh "$lab/scripts/node-up.sh" "$name" "$node" "$1" "/proc/$keeper/ns/net" "$2" "$3" "$4"
) </dev/null >"$node/words" 2>"$node/init.log" &
up=
while read -r line; do
    echo "$line"
    [ "$line" != ready ] || { up=yes && break; }
done <"$node/words"
rm -f "$node/words"
[ "$up" ] || {
    cat "$node/init.log" >&2
    exit 1
}
for group in $groups; do
    if [ -e "$group/cgroup.controllers" ]; then # no process may sit between groups of version 2
        mkdir "$group/init"
        for pid in $(cat "$group/cgroup.procs"); do
            echo "$pid" >"$group/init/cgroup.procs" 2>/dev/null || true
        done
        for controller in $(cat "$group/cgroup.controllers"); do
            echo "+$controller" >"$group/cgroup.subtree_control" 2>/dev/null || true
        done
        group=$group/init
    fi
    echo "group $group"
done
