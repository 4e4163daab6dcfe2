#!/usr/bin/env bash
# all.sh [MINUTES=9] [ENGINES=jax] [--tiny]   Runs everything, the calibration and throughput at once
# within MINUTES (a whole number) and whatever fails: compiling takes a core, and a machine with a
# GPU has many. Timing waits until nothing else computes. Records and logs go to $OUT (default
# results/gpu); the same command goes on with what is not in them.
# TASKS: whose throughput, by spaces. SEEDS: of it, by commas. ALGOS: what everything tries.
# CALIBRATE=0: no calibration. LOCK: a file that several of these share, where they run at once.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
minutes=${1:-9} engines=${2:-jax} tiny=${3:-}
python=${PYTHON:-python3}
tasks=${TASKS:-CheetahRun FingerSpin FingerTurnHard FishSwim HopperStand WalkerWalk}
algos=${ALGOS:-ppo fpo dppo gorl-fm gorl-diff}
size=(--protocol paper --seeds 5 --set protocol.total_steps=13762560 --set protocol.eval_interval=7)
rows=(--envs 2048 --seeds "${SEEDS:-5,1}" --repeats 1)
[ -z "$tiny" ] || { size=(--protocol smoke --seeds 2) rows=(--tiny); }
# Many processes share one card, so none may take its memory ahead.
export OUT="${OUT:-results/gpu}" PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
mkdir -p "$OUT" || exit 2
lock="${LOCK:-$OUT/.lock}"
: >"$OUT/summary.txt"

# Shows equal lines once: MJX-Warp may print a line for every environment and step.
once() { awk '!seen[$0]++ { print; fflush() }'; }

# begin NAME END COMMAND...: runs it in the background until END seconds after the start. One that
# dies is started again, twice: its record makes it go on with the next part.
begin() {
    local name=$1 end=$2 code=124 # of one that there was no time for
    shift 2
    {
        for _ in 1 2 3; do
            ((end - SECONDS > 20)) || break
            timeout -k 30 "$((end - SECONDS))" "$@" 2>&1 | once >>"$OUT/$name.log"
            code=${PIPESTATUS[0]}
            ((code > 127)) || break
        done
        echo "$name: exit code $code at $SECONDS s" >>"$OUT/summary.txt"
    } &
}

limit=$((minutes * 60))
training=$((limit * 6 / 10)) # the rest is for timing
for algo in $algos; do
    begin "everything-$algo" "$training" flock -s "$lock" "$python" -m benchmarks.gpu.everything \
        --task HopperStand --algos "$algo" --engines "$engines" --record "everything-$algo" $tiny
done
if [ "${CALIBRATE:-1}" = 1 ]; then
    for number in 1 2; do # the second takes the method that the first has not
        begin "calibrate-$number" "$training" flock -s "$lock" "$python" -m suite.cli run \
            --algos ppo,fpo --tasks CheetahRun --engine "${engines%%,*}" "${size[@]}" \
            --on here --out "$OUT/paper"
    done
fi
for task in $tasks; do
    begin "throughput-$task" $((limit - 30)) "$python" -m benchmarks.gpu.throughput \
        --tasks "$task" "${rows[@]}" --engines "$engines" --lock "$lock" \
        --record "throughput-$task"
done
wait
for log in "$OUT"/*.log; do tail -n 7 "$log"; done
[ ! -d "$OUT/paper" ] || "$python" -m suite.cli status "$OUT/paper"
cat "$OUT/summary.txt"
! grep -qv "exit code 0" "$OUT/summary.txt"
