"""`suite tune`: candidates of every method, trained rung by rung."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from algorithms.registry import lookup
from envs.tasks import resolve_tasks
from suite.common import formatting, interrupt
from suite.common.errors import UserError
from suite.configuration.effort import Effort, for_tuning, search_seeds
from suite.configuration.hyperparameters import class_defaults
from suite.configuration.protocol import Protocol, load_protocol
from suite.configuration.selection import format_seeds
from suite.contract.soundness import Unsound
from suite.contract.wiring import check_budget
from suite.leases.signs_of_life import DEFAULT_SECONDS
from suite.methods.build_method import build_method
from suite.planning.run_request import RunRequest, make_request
from suite.planning.task_files import select_tasks
from suite.training.launch import Outcome, launch
from suite.tuning.candidates import check_defaults, describe_ranges, draw_candidates
from suite.tuning.directory import (
    Method,
    candidate_path,
    check_effort,
    note_unsound,
    stored_method,
    write_effort,
    write_method,
)
from suite.tuning.like import effort_like
from suite.tuning.outcome import write_outcome
from suite.tuning.search import Search

NO_EVALUATION = "none"
"""After `--for`: the tasks that settings are found on may be those that methods are judged on."""

_WAIT_SECONDS = 5.0
"""Until it is looked again at what other processes train."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is spent on a method, as it is asked for; see `Effort`."""

    tasks: str = "tuning"
    trials: int = 8
    seeds: int = 1
    rungs: tuple[float, ...] = (0.5, 1.0)
    eta: int = 4
    draw: int = 0


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A search that was checked, nothing written yet.

    Attributes:
        out: its directory.
        effort: what is spent on each method.
        searches: by the method's name.
        base: the methods without tuning.
    """

    out: Path
    effort: Effort
    searches: Mapping[str, Search]
    base: RunRequest

    def request(self, name: str, number: int) -> RunRequest:
        """Returns the request for one candidate of a method.

        Raises:
            UserError: the class refuses its values, or they do not fit the budget.
        """
        values = {
            **self.base.hyperparameters[name],
            **self.searches[name].method.candidates[number],
        }
        try:
            instance = build_method(name, values, self.effort.protocol)
            check_budget(name, instance)
        except UserError as error:
            raise UserError(f"candidate {number} of {name}: {error}") from None
        return dataclasses.replace(
            self.base,
            out=candidate_path(self.out, number),
            hyperparameters={name: values},
            algorithms={name: instance},
        )

    def render(self) -> str:
        """Returns the plan for people: what is tried, what it takes, and whether it is equal."""
        effort = self.effort
        rungs = zip(effort.candidates, effort.ends, strict=True)
        listed = ", then ".join(f"{count} to update {end}" for count, end in rungs)
        lines = [
            f"{effort.trials} candidates a method on {', '.join(effort.tasks)}, seeds "
            f"{format_seeds(effort.seeds)}: {listed} of {effort.protocol.updates}",
            f"{formatting.count(effort.steps)} environment steps a method, "
            f"{formatting.count(effort.steps * len(self.searches))} in all",
        ]
        for name, search in self.searches.items():
            told = formatting.duration(self._seconds(name))
            lines.append(f"\n{name}: about {told}, a rough guess until the first one trains")
            lines += [f"  {field}: {text}" for field, text in search.method.ranges.items()]
            fields = list(search.method.candidates[0])
            rows = [
                (str(number), *(formatting.typed(each[field]) for field in fields))
                for number, each in enumerate(search.method.candidates)
            ]
            lines.append(formatting.table(("candidate", *fields), rows))
        return "\n".join(lines)

    @property
    def seconds(self) -> float | None:
        """What all of it may take on one core, None where that is not known."""
        found = [self._seconds(name) for name in self.searches]
        known = [each for each in found if each is not None]
        return sum(known) if len(known) == len(found) else None

    def jobs_left(self) -> int:
        """Returns how many cells are missing of the rungs that the methods are at."""
        trials = sum(1 for _ in _open_trials(self))
        return trials * len(self.effort.tasks) * len(self.effort.seeds)

    def _seconds(self, name: str) -> float | None:
        requests = [self.request(name, number) for number in range(self.effort.trials)]
        seconds = [request.plan(None).seconds for request in requests]
        known = [each for each in seconds if each is not None]
        # Of whole runs of all candidates; of each rung only its part of the budget is trained.
        share = self.effort.updates / (self.effort.trials * self.effort.protocol.updates)
        return sum(known) * share if len(known) == len(seconds) else None


def prepare_tuning(
    algos: str,
    protocol: str | Protocol,
    engine: str,
    out: Path | None,
    changes: Sequence[str],
    options: Options,
    judged_on: str = "dmc6",
) -> Prepared:
    """Checks what is asked for and draws the candidates.

    Args:
        algos: as in `make_request`, likewise `engine`.
        protocol: name, path or itself; what settings are searched for.
        out: directory of the search, `runs/tune-PROTOCOL` by default.
        changes: `--set` texts, of the protocol and of all candidates.
        options: what is spent on a method.
        judged_on: tasks that the methods will be compared on, or `NO_EVALUATION`.

    Raises:
        UserError: something is unknown, ill-typed or impossible, or the directory holds another
            search.
        EnvError: a task or an engine is unknown or does not suit this machine.
    """
    chosen = protocol if isinstance(protocol, Protocol) else load_protocol(protocol)
    tasks = select_tasks(options.tasks)
    _check_tasks(tasks, judged_on)
    out = out or Path("runs") / f"tune-{chosen.name}"
    seeds = _typed_seeds(search_seeds(options.seeds))
    base = make_request(algos, options.tasks, seeds, for_tuning(chosen), engine, out, changes)
    return _prepared(base, options)


def prepare_like(
    algos: str,
    source: str,
    engine: str,
    out: Path | None,
    changes: Sequence[str],
    judged_on: str = "dmc6",
) -> Prepared:
    """Prepares for other methods exactly what an earlier search spent.

    Args:
        algos: as in `make_request`, likewise `changes`.
        source: as in `effort_like`.
        engine: `auto` is the earlier one's.
        out: directory of the new search, `runs/tune-like-SOURCE` by default.
        judged_on: as in `prepare_tuning`.

    Raises:
        UserError: see `prepare_tuning`.
        EnvError: likewise.
    """
    effort = effort_like(source)
    _check_tasks(effort.tasks, judged_on)
    out = out or Path("runs") / f"tune-like-{Path(source).resolve().stem}"
    seeds, tasks = _typed_seeds(effort.seeds), ",".join(effort.tasks)
    engine = effort.engine if engine == "auto" else engine
    base = make_request(algos, tasks, seeds, effort.protocol, engine, out, changes)
    if base.protocol.fingerprint() != effort.protocol.fingerprint():
        raise UserError(
            f"--like spends what {source} spent, under its protocol; leave out --set protocol.FIELD"
        )
    options = Options(
        tasks, effort.trials, len(effort.seeds), effort.rungs, effort.eta, effort.draw
    )
    return _prepared(base, options)


def _typed_seeds(seeds: Sequence[int]) -> str:
    """Returns a search's seeds as `--seeds` takes them, where a single number would be a count."""
    return f"{seeds[0]}-{seeds[-1]}"


def _prepared(base: RunRequest, options: Options) -> Prepared:
    effort = Effort(
        protocol=base.protocol,
        tasks=base.tasks,
        seeds=base.seeds,
        trials=options.trials,
        rungs=options.rungs,
        eta=options.eta,
        draw=options.draw,
        engine=base.engine,
    )
    check_effort(base.out, effort)
    searches = {name: _search(base, effort, name) for name in base.algorithms}
    prepared = Prepared(base.out, effort, searches, base)
    _check_steps(prepared)
    return prepared


def _search(base: RunRequest, effort: Effort, name: str) -> Search:
    entry = lookup(name)
    defaults = {**class_defaults(entry.cls), **entry.defaults}
    check_defaults(name, entry.cls, defaults)
    values = base.hyperparameters[name]
    candidates = draw_candidates(name, entry.cls, values, effort.trials, effort.draw)
    others = {field: value for field, value in values.items() if field not in candidates[0]}
    fixed = {field: value for field, value in others.items() if value != defaults.get(field)}
    method = Method(name, describe_ranges(entry.cls), candidates, fixed)
    return Search(base.out, effort, stored_method(base.out, method))


def _check_tasks(tasks: Sequence[str], judged_on: str) -> None:
    if judged_on == NO_EVALUATION:
        return
    both = [task for task in resolve_tasks(judged_on) if task in tasks]
    if both:
        raise UserError(
            f"{', '.join(both)} would be both tuned on and judged on (--for {judged_on}); choose "
            f"other --tasks, or say --for {NO_EVALUATION} if nothing is to be judged"
        )


def _check_steps(prepared: Prepared) -> None:
    """Refuses candidates that take other numbers of steps: effort would not be equal."""
    updates = prepared.effort.protocol.updates
    for name, search in prepared.searches.items():
        for number in range(len(search.method.candidates)):
            stages = prepared.request(name, number).algorithms[name].stages()
            extra = sum(stage.extra_rollouts for stage in stages)
            taken = sum(stage.updates for stage in stages) + extra
            if taken != updates:
                raise UserError(
                    f"{name} takes {taken} rollouts where the protocol has {updates}, so that "
                    "tuning would not be equal; change what makes it so with --set"
                )


def run_tuning(
    prepared: Prepared, lease_seconds: float = DEFAULT_SECONDS, wait_seconds: float = _WAIT_SECONDS
) -> bool:
    """Trains what the searches still need, and writes what they come to.

    What other processes are training is left to them; only when nothing else is to be had it is
    waited for, and taken over from those that die.

    Args:
        prepared: as checked.
        lease_seconds: as in `launch`.
        wait_seconds: between two looks at what others train.

    Returns:
        Whether it came to the end; not if the user stopped it.

    Raises:
        UserError: see `launch`.
        OSError: a file cannot be written; what was stored before is untouched.
    """
    write_effort(prepared.out, prepared.effort)
    for search in prepared.searches.values():
        write_method(prepared.out, search.method)
    told: set[Trial] = set()
    waited_for: list[Trial] = []
    while trials := list(_open_trials(prepared)):
        held = []
        for trial in trials:
            _tell(prepared, trial, told)
            outcome = _train(prepared, trial, lease_seconds)
            if outcome.interrupted or interrupt.requested():
                return False
            held += [trial] if outcome.held else []
        if held == trials:
            if trials != waited_for:
                print("suite: waiting for other processes", file=sys.stderr)
            waited_for = trials
            _sleep(wait_seconds)
        write_outcome(prepared.out)
    write_outcome(prepared.out)
    return True


class Trial(NamedTuple):
    """A candidate of a method, and the rung that it is to get to."""

    name: str
    number: int
    rung: int


def _open_trials(prepared: Prepared) -> Iterator[Trial]:
    """Yields what is missing of the rung that each method is at."""
    for name, search in prepared.searches.items():
        rounds = search.rounds()
        for number in rounds[-1].missing:
            yield Trial(name, number, len(rounds) - 1)


def _tell(prepared: Prepared, trial: Trial, told: set[Trial]) -> None:
    """Names a trial when it is first looked at; one that others train is looked at again."""
    if trial not in told:
        told.add(trial)
        name, number, rung = trial
        end = prepared.effort.ends[rung]
        print(f"suite: {name}, candidate {number}, to update {end}", file=sys.stderr)


def _sleep(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not interrupt.requested():
        time.sleep(0.1)


def _train(prepared: Prepared, trial: Trial, lease_seconds: float) -> Outcome:
    """Trains a candidate to its rung's end, as far as no other process does."""
    effort, (name, number, rung) = prepared.effort, trial
    end = effort.ends[rung]
    request = prepared.request(name, number)
    try:
        return launch(request, wait=False, lease_seconds=lease_seconds, until=end)
    except Unsound as error:
        if number == 0:
            raise
        print(f"suite: {name}, candidate {number} counts as 0: {error}", file=sys.stderr)
        note_unsound(prepared.out, name, number, str(error))
        return Outcome((), interrupted=False)
