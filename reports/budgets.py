"""Whether all runs took the same number of environment steps, in one place for all who say so."""

from __future__ import annotations

from collections.abc import Sequence

from reports.agreement import Check, listed, run_name
from reports.results import Results, Run
from reports.scores import ScorePolicy

NAME = "equal steps"
"""Of the audit's check."""


def steps_check(results: Results) -> Check:
    """Every run took the budget, to the step, but for those that diverged before its end.

    What is unfinished has taken another number of steps, and what a damaged run has taken is
    not known: neither makes a comparison unfair by itself, but nobody may call them equal.
    """
    budget, done = results.budget, _in_state(results, "done")
    taken = {run_name(run): run.status.ledger.env_steps for run in done if run.status}
    wrong = [
        f"{name} took {steps:,} ({100 * (steps - budget) / budget:+.2g}%)"
        for name, steps in taken.items()
        if steps != budget
    ]
    if wrong:
        text = f"the budget is {budget:,} environment steps, but {listed(wrong, '; ')}"
        return Check(NAME, "failed", text)
    text = f"{budget:,} environment steps in each of {len(taken)} finished runs, by their ledgers"
    diverged = _in_state(results, "diverged")
    if diverged:
        text += f"; {_runs(diverged)} diverged before, {_reached(diverged, budget)}"
    open_ends = [*_unfinished(results), *_damaged(results)]
    if not taken and not diverged:
        no = ", ".join(["no run is finished, so none can be judged", *open_ends])
        return Check(NAME, "warning", no)
    if open_ends:
        return Check(NAME, "warning", f"not judged: {', '.join(open_ends)}; {text}")
    return Check(NAME, "ok", text)


def equal_budgets(results: Results) -> str:
    """Answers whether budgets are equal to the step: `yes`, or what else is so."""
    budget = [finding.where for finding in results.findings if finding.kind == "budget"]
    if budget:
        return f"no: {listed(budget)}"
    open_ends = [*_unfinished(results), *_damaged(results)]
    if not _in_state(results, "done") and not _in_state(results, "diverged"):
        return ", ".join(["not judged: no run is finished", *open_ends])
    if open_ends:
        return f"no: {', '.join(open_ends)}"
    diverged = _in_state(results, "diverged")
    if diverged:
        reached = _reached(diverged, results.budget)
        return f"yes, but for {_runs(diverged)} that diverged, {reached}"
    return "yes"


def ranks_unequal(results: Results, policy: ScorePolicy) -> bool:
    """Whether unfinished runs' last evaluations are compared with those after other steps.

    A run that diverged had its whole budget; one that is unfinished has not.
    """
    if policy.incomplete != "last":
        return False
    running = [run for run in _in_state(results, "running") if len(run.curve)]
    reached = {int(run.curve["env_steps"].max()) for run in running}
    whole = _in_state(results, "done") or _in_state(results, "diverged")
    return bool(running) and (len(reached) > 1 or bool(whole))


def _in_state(results: Results, state: str) -> list[Run]:
    return [run for run in results.runs if run.state == state]


def _unfinished(results: Results) -> list[str]:
    running = _in_state(results, "running")
    if not running:
        return []
    return [f"{_runs(running)} unfinished, {_reached(running, results.budget)}"]


def _damaged(results: Results) -> list[str]:
    damaged = _in_state(results, "damaged")
    return [f"{_runs(damaged)} damaged"] if damaged else []


def _runs(runs: Sequence[Run]) -> str:
    return f"{len(runs)} run{'s' * (len(runs) != 1)}"


def _reached(runs: Sequence[Run], budget: int) -> str:
    """Returns `at 10% to 90% of the budget`."""
    shares = [run.status.ledger.env_steps / budget if run.status else 0.0 for run in runs]
    low, high = (f"{share:.0%}" for share in (min(shares), max(shares)))
    return f"at {low if low == high else f'{low} to {high}'} of the budget"
