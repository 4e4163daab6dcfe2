"""Whether all runs took the same number of environment steps, in one place for all who say so."""

from __future__ import annotations

from collections.abc import Sequence

from reports.analysis.scores import ScorePolicy
from reports.runs.names import listed
from reports.runs.results import ENDINGS, Results, Run, RunState


def equal_budgets(results: Results) -> str:
    """Answers whether budgets are equal to the step: `yes`, or what else is so."""
    budget = [finding.where for finding in results.findings if finding.kind == "budget"]
    if budget:
        return f"no: {listed(budget)}"
    stopped = stopped_runs(results, "diverged", "running", "damaged")
    if not in_state(results, "done"):
        return ", ".join(["not judged, as no run is finished", *stopped])
    if stopped_runs(results, "running", "damaged"):
        return f"no, {', '.join(stopped)}"
    return f"yes, except that {', '.join(stopped)}" if stopped else "yes"


def ranks_unequal(results: Results, policy: ScorePolicy) -> bool:
    """Whether unfinished runs' last evaluations are compared with those after other steps.

    A run that diverged had its whole budget; one that is unfinished has not.
    """
    if policy.incomplete != "last":
        return False
    running = [run for run in in_state(results, "running") if len(run.curve)]
    reached = {int(run.curve["env_steps"].max()) for run in running}
    whole = in_state(results, "done") or in_state(results, "diverged")
    return bool(running) and (len(reached) > 1 or bool(whole))


def in_state(results: Results, state: RunState) -> list[Run]:
    """Returns the runs in one state."""
    return [run for run in results.runs if run.state == state]


def stopped_runs(results: Results, *states: RunState) -> list[str]:
    """Returns `2 runs diverged, at 30% of the budget` for each state that runs are in."""
    groups = {state: in_state(results, state) for state in states}
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
