"""Whether all runs took the same number of environment steps, in one place for all who say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from reports.analysis.scores import ScorePolicy
from reports.runs.names import listed
from reports.runs.results import ENDINGS, Results, Run, RunState, run_name


def judge_steps(results: Results) -> tuple[Literal["ok", "failed", "warning"], str]:
    """Judges whether every run took the budget, to the step, but for those that diverged before.

    What is unfinished has taken another number of steps, and what a damaged run has taken is
    not known: neither makes a comparison unfair by itself, but nobody may call them equal.

    Returns:
        The verdict, and one sentence with the reasons.
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
        return "failed", text
    stopped = _stopped(results, "diverged", "running", "damaged")
    if not taken:
        return "warning", ", ".join(["no run is finished, so none can be judged", *stopped])
    text = f"{budget:,} environment steps in each of {len(taken)} finished runs, by their ledgers"
    unknown = _stopped(results, "running", "damaged")
    if unknown:
        return "warning", f"{text}; not judged: {', '.join(unknown)}"
    return "ok", "; ".join([text, *stopped])


def equal_budgets(results: Results) -> str:
    """Answers whether budgets are equal to the step: `yes`, or what else is so."""
    budget = [finding.where for finding in results.findings if finding.kind == "budget"]
    if budget:
        return f"no: {listed(budget)}"
    stopped = _stopped(results, "diverged", "running", "damaged")
    if not _in_state(results, "done"):
        return ", ".join(["not judged, as no run is finished", *stopped])
    if _stopped(results, "running", "damaged"):
        return f"no, {', '.join(stopped)}"
    return f"yes, but for {', '.join(stopped)}" if stopped else "yes"


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


def _stopped(results: Results, *states: RunState) -> list[str]:
    """Returns `2 runs diverged, at 30% of the budget` for each state that runs are in."""
    groups = {state: _in_state(results, state) for state in states}
    return [
        f"{_runs(runs)} {ENDINGS[state]}{_reached(runs, results.budget)}"
        for state, runs in groups.items()
        if runs
    ]


def _runs(runs: Sequence[Run]) -> str:
    return f"{len(runs)} run{'s' * (len(runs) != 1)}"


def _reached(runs: Sequence[Run], budget: int) -> str:
    """Returns `, at 10% to 90% of the budget`, nothing of damaged runs: who knows."""
    if any(run.state == "damaged" for run in runs):
        return ""
    shares = [run.status.ledger.env_steps / budget if run.status else 0.0 for run in runs]
    low, high = (f"{share:.0%}" for share in (min(shares), max(shares)))
    return f", at {low if low == high else f'{low} to {high}'} of the budget"
