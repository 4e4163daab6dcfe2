"""A trainer that trains nothing: it does what its script says, for tests of who gets which job.

    python tests/helpers/clustered/standing_in.py SCRIPT.json LOG

The script holds, by task/algorithm, a list of what happens at the first try, the second, and so
on; the last goes on for ever: `done`, `crash`, `fault`, `refuse`, `wait` (until it is told to
stop), `silent` (stops itself, as a suspended process), or seconds to take. Each start of a job is
a line of the log.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

stop = threading.Event()


def tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def attempt(what: Any, name: str) -> None:
    tell(kind="update", steps=1, total=2, speed=1.0, returns=[0.0], passing=False)
    if what == "crash":
        print("suite: about to crash", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)  # other threads go on for a moment
    if what == "silent":
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.5)
    seconds = what if isinstance(what, int | float) else 3600.0 if what == "wait" else 0.0
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stop.is_set():
        time.sleep(0.02)
        tell(kind="beat")
    if what in ("fault", "refuse"):
        outcome = "failed" if what == "fault" else "refused"
        tell(kind="result", outcome=outcome, message=f"{name} {what}", fault=what == "fault")
        if what == "fault":
            os._exit(1)
    else:
        tell(kind="result", outcome="interrupted" if stop.is_set() else "done")
    if stop.is_set():
        os._exit(0)


def main() -> None:
    script, log = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def serve() -> None:
        for line in sys.stdin:
            order = json.loads(line)
            if order.get("stop"):
                stop.set()
            elif "job" in order:
                threading.Thread(target=begin, args=[order["job"]], daemon=True).start()
        os._exit(0)

    def begin(job: dict[str, Any]) -> None:
        name = f"{job['task']}/{job['algorithm']}"
        with open(log, "a+") as file:
            file.seek(0)
            before = sum(json.loads(line)["name"] == name for line in file)
            file.write(json.dumps({"name": name, "pid": os.getpid(), "seeds": job["seeds"]}) + "\n")
        steps = script.get(name, ["done"])
        attempt(steps[min(before, len(steps) - 1)], name)

    threading.Thread(target=serve, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
