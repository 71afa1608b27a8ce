# What a machine is, one fact a line. Changes nothing, and looks no further without the marker.
#
#   check.sh MARKER FOLDER PROGRAM...
marker=$1 folder=$2
shift 2
[ -e "$marker" ] || exit 0
echo "marker yes"
echo "clock $(date +%s.%N)"
echo "arch $(uname -m)"
echo "identity $(cat /etc/machine-id 2>/dev/null)"
for program; do
    command -v "$program" >/dev/null || echo "missing $program"
done
# Debian's python3-minimal, which some images have, is without these.
! command -v python3 >/dev/null || python3 -I -S -c 'import ctypes, json' 2>/dev/null ||
    echo "missing standard library of python3"
for lock in "$folder"/labs/*/lock; do
    [ -e "$lock" ] || continue
    flock --nonblock "$lock" true || echo "busy $lock"
done
