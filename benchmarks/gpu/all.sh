#!/usr/bin/env bash
# all.sh [MINUTES=9] [OPTION...]   Runs first and calibrate, one after the other, within MINUTES (a
# whole number) and whatever fails. The options are those that both have: --tiny, --engines NAMES.
# Records and logs go to $OUT (default results/gpu).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
export OUT="${OUT:-results/gpu}" PYTHONUNBUFFERED=1
mkdir -p "$OUT" || exit 2
limit=$((${1:-9} * 60))
shift || true
summary=()
status=0

# Shows equal lines once: MJX-Warp may print a line for every environment and step.
once() { awk '!seen[$0]++ { print; fflush() }'; }

# run NAME END [OPTION...]: runs a script until END seconds after the start. One that is killed or
# dies is started again a few times: its record makes it go on with the next part.
run() {
    local name=$1 end=$2 left
    code=0
    shift 2
    for _ in 1 2 3 4 5; do
        left=$((end - SECONDS))
        ((left > 20)) || break
        # The script stops itself somewhat earlier than it would be stopped.
        timeout -k 10 "$left" "${PYTHON:-python3}" -m "benchmarks.gpu.$name" \
            --minutes "$((left * 85 / 60))e-2" "$@" 2>&1 | once | tee -a "$OUT/$name.log"
        code=${PIPESTATUS[0]}
        ((code < 124)) && break
    done
    ((code == 0)) || status=1
    summary+=("$name: exit code $code at $SECONDS s")
}

run first $((limit / 2)) "$@"
run calibrate $((limit - 30)) "$@"
if ((code >= 124)); then # killed: what it trained is still to be reported
    "${PYTHON:-python3}" -m benchmarks.gpu.calibrate --report "$@" 2>&1 | once |
        tee -a "$OUT/calibrate.log"
fi
printf '%s\n' "${summary[@]}"
exit "$status"
