"""Tables of one method in several settings, or in several stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from reports.analysis import Analysis
from reports.entries import (
    estimate_entry,
    final_return,
    interval_rule,
    make_table,
    score_rule,
    settings_of,
    spread,
)
from reports.markup import Entry, Table
from reports.results import Results, Run, display_name, method_of

KL_FIELDS = frozenset({"latent_penalty", "later_latent_penalty", "penalty_form"})
STAGE_FIELDS = frozenset({"stage_shares", "decoder_rollouts", "decoder_samples", "decoder_data"})
NORMALIZER_FIELDS = frozenset({"keep_statistics"})
CONTROLS = ("gorl-identity", "ppo-matched", "ppo-matched-reset", "ppo-brax")


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
    table = _variant_table(analysis, "controls", "Controls", chosen, base="gorl-fm")
    return table if chosen else dataclasses.replace(table, rows=())


def stages(analysis: Analysis) -> Table:
    """The return at the end of every stage of algorithms that have several."""
    results = analysis.results
    rows = []
    for algorithm in results.algorithms:
        mode = analysis.mode_of(algorithm)
        for task in results.tasks:
            ends = [_stage_ends(run, mode) for run in results.runs_of(algorithm, task)]
            ids = tuple(run.run_id for run in results.runs_of(algorithm, task))
            last = max((max(each) for each in ends if each), default=0)
            if last:
                cells = [spread([e[s] for e in ends if s in e], ids) for s in range(last + 1)]
                rows.append([Entry(display_name(algorithm)), Entry(task), *cells])
    width = max((len(row) for row in rows), default=2)
    header = ("method", "task", *(f"stage {index}" for index in range(width - 2)))
    filled = [(*row, *[Entry("")] * (width - len(row))) for row in rows]
    note = (
        f"Mean ± sample standard deviation of the stage's last return, mode {analysis.mode_text}."
    )
    return make_table("stages", "Return after each stage", header, filled, note)


def _variants(results: Results) -> dict[str, frozenset[str]]:
    """Returns labels of variants with the hyper-parameters in which they differ from the base."""
    variants = {}
    for algorithm in results.algorithms:
        base = method_of(algorithm)
        if base != algorithm and base in results.algorithms:
            mine, theirs = settings_of(results, algorithm), settings_of(results, base)
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
        origin = base or method_of(algorithm)
        for each in (origin, algorithm):
            if each in results.algorithms and each not in shown:
                shown.add(each)
                varied = each != origin and origin in results.algorithms
                difference = analysis.difference(each, origin) if varied else None
                cells = [final_return(analysis, each, task) for task in results.tasks]
                shown_name = Entry(display_name(each), None, analysis.run_ids(each))
                rows.append((shown_name, *cells, estimate_entry(difference)))
    note = (
        "Final return, mean ± sample standard deviation; IQM score less that of the method "
        f"varied, on the tasks that both have [{interval_rule(analysis)}]. {score_rule(analysis)}"
    )
    return make_table(name, title, ("method", *results.tasks, "IQM difference"), rows, note)


def _stage_ends(run: Run, mode: str) -> dict[int, float]:
    """Returns the last return of each stage."""
    rows = run.mode_curve(mode)
    return {int(s): float(r) for s, r in zip(rows["stage"], rows["return_mean"], strict=True)}
