# Make a machine ready for labs: what dead ones left goes, modules that nodes need come.
#
#   prepare.sh FOLDER
set -eu
folder=$1
# sshd hands the API's socket out as the user it let in: others may pass, and see nothing.
mkdir -p -m 711 "$folder" "$folder/labs"
mkdir -p -m 700 "$folder/engines" "$folder/seeds"
for lab in "$folder"/labs/*; do
    # The lock of a lab is free when its janitor is dead, as after a power cut.
    [ ! -d "$lab" ] || ! flock --nonblock "$lab/lock" true || rm -rf "$lab"
done
# Nodes cannot load what they need; a kernel that has it built in, or lacks it, is no error here.
for module in overlay vxlan bridge veth nf_tables br_netfilter ip_vs ip_vs_rr xt_ipvs; do
    modprobe --quiet "$module" 2>/dev/null || true
done
# New network namespaces copy forwarding from the machine's own.
[ ! -e /proc/net/ip_vs ] || [ "$(cat /proc/sys/net/ipv4/ip_forward)" != 1 ] || echo "mesh yes"
