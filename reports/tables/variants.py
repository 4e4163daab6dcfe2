"""Tables of one method in several settings, or in several stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from reports.analysis.comparison import Analysis
from reports.analysis.scores import CountedRun, whole_curve
from reports.analysis.sentences import interval_rule, score_rule
from reports.runs.names import Label, display_name
from reports.runs.results import Results
from reports.tables.entries import count_entry, estimate_entry, final_return, make_table, spread
from reports.tables.table import Entry, Table
from suite.catalog.names import CONTROLS

KL_FIELDS = frozenset({"latent_penalty", "later_latent_penalty", "penalty_form"})
STAGE_FIELDS = frozenset({"stage_shares", "decoder_rollouts", "decoder_samples", "decoder_data"})
NORMALIZER_FIELDS = frozenset({"keep_statistics"})
CONTROLLED = "gorl-fm"
"""What the controls are compared with."""


def ablation(analysis: Analysis, name: str, title: str, fields: frozenset[str]) -> Table:
    """Variants of an algorithm that differ from it in some of `fields`."""
    chosen = [a for a, changed in _variants(analysis.results).items() if changed & fields]
    return _variant_table(analysis, name, title, chosen)


def other_variants(analysis: Analysis) -> Table:
    """Variants that belong to no other ablation."""
    known = KL_FIELDS | STAGE_FIELDS | NORMALIZER_FIELDS
    chosen = [a for a, changed in _variants(analysis.results).items() if not changed & known]
    return _variant_table(analysis, "variants", "Other settings", chosen)


def controls(analysis: Analysis) -> Table:
    """GoRL beside PPO with its settings, and with its resets too."""
    chosen = [each for each in CONTROLS if each in analysis.results.algorithms]
    table = _variant_table(analysis, "controls", "Controls", chosen, base=CONTROLLED)
    return table if chosen else dataclasses.replace(table, rows=())


def stages(analysis: Analysis) -> Table:
    """The return at the end of every stage of algorithms that have several.

    Of the runs that count, as what they count: the last stage's return is the final one.
    """
    results = analysis.results
    rows = []
    for algorithm in results.algorithms:
        for task in results.tasks:
            counted = analysis.scores.counted(algorithm, task)
            ends = _stage_ends(results, task, counted)
            if len(ends) > 1:
                ids = tuple(each.run_id for each in counted)
                count = count_entry(len(counted), results.endings(algorithm, task), ids)
                cells = [spread(values, ids) for values in ends]
                rows.append([Entry(display_name(algorithm)), Entry(task), count, *cells])
    width = max((len(row) for row in rows), default=3)
    header = ("method", "task", "n", *(f"stage {index}" for index in range(width - 3)))
    filled = [(*row, *[Entry("")] * (width - len(row))) for row in rows]
    note = (
        "Mean ± sample standard deviation over n runs of the stage's last return; blank where "
        "nothing was evaluated in a stage but at the very start. "
        f"{score_rule(analysis)}"
    )
    return make_table("stages", "Return after each stage", header, filled, note)


def _variants(results: Results) -> dict[Label, frozenset[str]]:
    """Returns labels of variants with the hyper-parameters in which they differ from the base."""
    variants = {}
    for algorithm in results.algorithms:
        base = algorithm.method
        if base != algorithm and base in results.algorithms:
            mine, theirs = results.settings_of(algorithm), results.settings_of(base)
            fields = {*mine, *theirs}
            changed = {field for field in fields if mine.get(field) != theirs.get(field)}
            variants[algorithm] = frozenset(changed)
    return variants


def _variant_table(
    analysis: Analysis, name: str, title: str, chosen: Sequence[str], base: str | None = None
) -> Table:
    """Returns chosen algorithms below those that they vary, with differences of the IQM."""
    results = analysis.results
    rows = []
    shown: set[str] = set()
    for algorithm in chosen:
        origin = base or Label(algorithm).method
        for each in (origin, algorithm):
            if each in results.algorithms and each not in shown:
                shown.add(each)
                varied = each != origin and origin in results.algorithms
                difference = analysis.differences.iqm(each, origin) if varied else None
                cells = [final_return(analysis, each, task) for task in results.tasks]
                shown_name = Entry(display_name(each), None, analysis.scores.run_ids(each))
                rows.append((shown_name, *cells, estimate_entry(difference)))
    note = (
        "Final return, mean ± sample standard deviation; IQM score less that of the method "
        f"varied, on the tasks that both have [{interval_rule(analysis)}]. {score_rule(analysis)}"
    )
    return make_table(name, title, ("method", *results.tasks, "IQM difference"), rows, note)


def _stage_ends(results: Results, task: str, counted: Sequence[CountedRun]) -> list[list[float]]:
    """Returns the last return of each run in each stage, in the order of the stages."""
    stage_at: dict[float, int] = {}
    for each in counted:
        stage_at |= _own_stages(each)
    steps = np.array(sorted(stage_at), float)
    stages = np.maximum.accumulate([0, *(stage_at[each] for each in sorted(stage_at))])
    ends: list[list[float]] = [[] for _ in range(int(stages[-1]) + 1)]
    for each in counted:
        x, scores = whole_curve(each, results, task)
        own = list(_own_stages(each).values())
        # Where a run no longer was, the stage is the one in which others were then.
        others = stages[np.searchsorted(steps, x[len(own) :], side="right")]
        places = np.concatenate([np.array(own, int), others])
        returns = results.bounds(task).to_return(scores)
        for stage, values in enumerate(ends):
            # At step 0 nothing has ended yet; of a warm-up it can be the only evaluation.
            values += returns[(places == stage) & (x > 0)][-1:].tolist()
    return ends


def _own_stages(counted: CountedRun) -> dict[float, int]:
    """Returns in which stage a run was at each of its evaluations, by environment steps."""
    if counted.evaluated is None:
        return {}
    rows = counted.evaluated.mode_curve(counted.mode)
    return dict(zip(rows["env_steps"].tolist(), rows["stage"].tolist(), strict=True))
