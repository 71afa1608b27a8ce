#!/usr/bin/env bash
# A night in three steps, for any CI:
#
#   night.sh canary [PYTEST ARGS]        a scenario that must fail; ends with 1 unless it does
#   night.sh shard NAME [PYTEST ARGS]    the scenarios; leaves shards/NAME.tar.gz, whatever they say
#   night.sh compare [FAILURES ARGS]     all shards as one run, next to the last good night
#
# compare reads shards/*.tar.gz, good/night.tar.gz and history/failures.json (neither in the first
# night), and leaves site/ (pages), comparison.md, history/failures.json for tomorrow, whatever the
# night was, and night.tar.gz: tomorrow's good night, if the caller is green. A failure in a shard is
# red in the morning, unless it is in the file that `compare --acknowledged FILE` names.
# Exit codes are swarm-chaos's: 0 as expected, 1 failed or regressed, 2 unknown or trouble.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage() { sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64; }

canary() {
    local code=0
    swarm-chaos run "$here/canary" --reports canary "$@" || code=$?
    if [ "$code" = 1 ]; then
        echo "night: the canary failed, as it must"
        return
    fi
    echo "night: the canary ended with $code and not with 1: this night's checks prove nothing" >&2
    exit 1
}

shard() {
    local name=${1:?a name for the shard} code=0
    shift
    mkdir -p shards
    swarm-chaos run --packaged --controls --reports "reports-$name" "$@" || code=$?
    # Half a night is kept too: what failed is what somebody wants to look at.
    swarm-chaos results export --reports "reports-$name" --to "shards/$name.tar.gz"
    # Whether a failure is red is decided in the morning, when its history is at hand.
    [ "$code" = 1 ] && code=0
    exit "$code"
}

compare() {
    local code=0 failures=0
    rm -rf night good/night site
    swarm-chaos results import shards/*.tar.gz --reports night/shards
    swarm-chaos results merge night/shards/* --into night/night
    swarm-chaos report night/night --into site
    swarm-chaos results export night/night --to night.tar.gz
    swarm-chaos results failures night/night --history history/failures.json \
        --fail-on known "$@" || failures=$?
    if [ ! -f good/night.tar.gz ]; then
        echo "night: there is no good night to compare with yet"
        exit "$failures"
    fi
    swarm-chaos results import good/night.tar.gz --reports good
    swarm-chaos compare good/night night/night --fail-on regressed,unknown \
        --write comparison.md --write comparison.html || code=$?
    # What failed is more than what is unknown, and that more than nothing.
    if [ "$failures" = 1 ] || [ "$code" = 0 ]; then code=$failures; fi
    exit "$code"
}

case ${1-} in
    canary | shard | compare) "$@" ;;
    *) usage ;;
esac
