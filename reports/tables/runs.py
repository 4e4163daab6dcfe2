"""Tables of what ran: on which terms, at what cost, and what went wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from reports.analysis.budgets import equal_budgets
from reports.analysis.comparison import Analysis
from reports.analysis.sentences import mode_words, score_words, unscored_text
from reports.runs.names import display_name
from reports.runs.results import Results, Run
from reports.tables.entries import (
    count_entry,
    make_table,
    text_entries,
)
from reports.tables.table import NOT_RECORDED, Entry, Table, number
from suite.common.formatting import plain
from suite.storage.records import Configuration

_MEASURED = (
    "seeds together",
    "wall-clock s",
    "train s",
    "evaluate s",
    "other s",
    "compile s",
    "steps/s",
    "memory MiB",
    "device memory MiB",
)
_CONFIGURED = ("parameters", "networks per action", "tuning")
_EFFORT = ("gradient steps", "update-to-data")
"""Shown where any run recorded them, which older versions did not."""
_COUNTED = ("configurations", "seeds", "steps")
"""Of what a protocol tells of tuning (`TUNING`), what is multiplied."""


def comparability(analysis: Analysis) -> Table:
    """What makes the runs comparable, and what does not."""
    results = analysis.results
    protocol = results.protocol
    kinds = {finding.kind for finding in results.findings}
    rows = [
        ("protocol", f"{protocol.name}, fingerprint {protocol.fingerprint()}"),
        ("run directories", ", ".join(results.directories)),
        ("budget", f"{results.budget:,} environment steps per run"),
        ("budgets equal to the step", equal_budgets(results)),
        ("evaluation", _evaluation_rule(analysis)),
        ("engine", ", ".join(results.engines) or "unknown"),
        ("one engine", "no" if "engine" in kinds else "yes"),
        ("one physics model per task", "no" if "model" in kinds else "yes"),
        (
            "score",
            "; ".join(filter(None, (score_words(analysis), unscored_text(analysis).strip()))),
        ),
        ("runs that count", f"{_counted(analysis)} of {results.expected_runs}"),
        ("policy for the others", analysis.policy.describe()),
    ]
    return make_table(
        "comparability", "What was compared", ("question", "answer"), map(text_entries, rows)
    )


def ledger(results: Results) -> Table:
    """Environment steps by purpose, and whether they are the budget."""
    rows = []
    for algorithm, task, group in results.groups():
        found = [run for run in group if run.status and run.state != "damaged"]
        ids = tuple(run.run_id for run in found)
        ledgers = [run.status.ledger for run in found if run.status]
        failed = results.endings(algorithm, task)
        purposes = ("train_steps", "warmup_steps", "decoder_data_steps", "env_steps", "eval_steps")
        counts = [_common([getattr(each, name) for each in ledgers], ids) for name in purposes]
        count, equal = count_entry(len(found), failed, ids), Entry(_equal(found, results.budget))
        rows.append((Entry(display_name(algorithm)), Entry(task), count, *counts, equal))
    columns = ("train", "warm-up", "decoder data", "sum", "evaluation", "equal")
    header = ("method", "task", "n", *columns)
    note = (
        "Environment steps per run; a range where runs differ. n: all runs but damaged ones. "
        "Train, warm-up and decoder data count against the budget of "
        f"{results.budget:,}; equal: whether each of the n took it, to the step."
    )
    return make_table("ledger", "Ledger of environment steps", header, rows, note)


def cost(results: Results) -> Table:
    """Time, speed and size."""
    rows = []
    told = any(_gradient_steps(run) is not None for run in results.runs)
    for algorithm, task, group in results.groups():
        whole = [run for run in group if run.state == "done" and len(run.curve)]
        failed = results.endings(algorithm, task)
        count = count_entry(len(whole), failed, tuple(run.run_id for run in whole))
        measured = _measured(whole) if whole else [Entry("")] * len(_MEASURED)
        effort = _effort(whole, results.protocol.steps_per_update) if told else ()
        cells = [*measured, *_configured(group), *effort]
        rows.append((Entry(display_name(algorithm)), Entry(task), count, *cells))
    note = (
        "Medians over the n runs that came to the end of the budget, as what others took is not "
        "its cost; parameters, networks and tuning are those of any run. Seconds are those of the "
        "job that trains `seeds together` at once and are measured with whatever else the machine "
        "did; compilation is part of `other`. "
        "steps/s: environment steps of all seeds per second of training. Memory: the largest "
        "need of any start, of the process and of the accelerator. Networks per action: "
        "policy-network evaluations. Tuning: the search behind the hyper-parameters, as the "
        "protocol tells it."
    )
    if told:
        note += (
            " Gradient steps: minibatches of the method itself, without those of a warm-up and a "
            "decoder's fit, and with those in which a replay buffer may still be filling; "
            "update-to-data: how many of them for each environment step that is trained on."
        )
    header = ("method", "task", "n", *_MEASURED, *_CONFIGURED, *(_EFFORT if told else ()))
    return make_table("cost", "Cost", header, rows, note)


def failures(analysis: Analysis) -> Table:
    """Everything that is missing, broken or different."""
    rows = [text_entries((each.kind, each.where, each.text)) for each in analysis.results.findings]
    header = ("kind", "where", "what")
    return make_table("findings", "Failures and findings", header, rows, analysis.policy.describe())


def hyperparameters(results: Results) -> Table:
    """Every hyper-parameter of every algorithm."""
    settings = {a: results.settings_of(a) for a in results.algorithms}
    fields = sorted({field for each in settings.values() for field in each})
    rows = [
        (Entry(field), *(Entry(plain(settings[a].get(field, ""))) for a in results.algorithms))
        for field in fields
    ]
    header = ("hyper-parameter", *map(display_name, results.algorithms))
    note = "As stored with the runs; empty where a method has no such hyper-parameter."
    return make_table("hyperparameters", "Hyper-parameters", header, rows, note)


def machines(results: Results) -> Table:
    """On what the runs were made, one row per different answer."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for run in results.runs:
        for start in run.record.provenance if run.record else ():
            groups.setdefault(_machine(run, start), []).append(run.run_id)
    rows = [
        (*text_entries(machine), number(len(set(ids)), 0, tuple(sorted(set(ids)))))
        for machine, ids in sorted(groups.items())
    ]
    header = ("engine", "device", "CPU", "Python", "packages", "flags", "program", "runs")
    note = (
        "All runs, whatever their state. A run that was stopped and resumed counts once for every "
        "machine it was on."
    )
    return make_table("machines", "Machines and versions", header, rows, note)


def runs(analysis: Analysis) -> Table:
    """Every run with its id and its scores."""
    rows = []
    for run in analysis.results.runs:
        curve = run.mode_curve(analysis.scores.mode_of(run.algorithm))["return_mean"]
        last = number(float(curve.iloc[-1]) if len(curve) else None, 1, (run.run_id,))
        best = number(float(curve.max()) if len(curve) else None, 1, (run.run_id,))
        steps = number(run.status.ledger.env_steps if run.status else None, 0)
        name = Entry(display_name(run.algorithm))
        where = (Entry(run.task), number(run.seed, 0), Entry(run.state), steps, last, best)
        rows.append((name, *where, Entry(run.run_id), Entry(run.directory)))
    header = ("method", "task", "seed", "state", "steps", "last", "best", "run id", "directory")
    note = (
        "Returns of the last and the best evaluation that are stored, whatever a run counts as; "
        f"mode {mode_words(analysis)}."
    )
    return make_table("runs", "Runs", header, rows, note)


def _evaluation_rule(analysis: Analysis) -> str:
    protocol = analysis.results.protocol
    return (
        f"{protocol.eval_episodes} episodes every {protocol.eval_interval} updates from common "
        f"start states, mode {mode_words(analysis)}"
    )


def _counted(analysis: Analysis) -> int:
    results = analysis.results
    ids = [
        run_id
        for algorithm in results.algorithms
        for task in results.tasks
        for run_id in analysis.scores.of(algorithm, task).run_ids
    ]
    return sum(run_id != "missing" for run_id in ids)


def _equal(runs: Sequence[Run], budget: int) -> str:
    """Returns whether all of some runs took the budget, to the step."""
    if not runs:
        return "not judged"
    return "yes" if all(r.status and r.status.ledger.env_steps == budget for r in runs) else "no"


def _common(values: Sequence[int], runs: tuple[str, ...]) -> Entry:
    if not values:
        return Entry("", None, runs)
    low, high = min(values), max(values)
    return Entry(f"{low:,}" if low == high else f"{low:,}-{high:,}", high, runs)


def _measured(group: Sequence[Run]) -> Iterator[Entry]:
    """Yields an entry for each of `_MEASURED`."""
    ids = tuple(run.run_id for run in group)
    last = [run.curve.iloc[-1] for run in group]
    configurations = [run.configuration for run in group if run.configuration]
    together = [len(each.seeds_together) for each in configurations]
    other = [row.wall_seconds - row.train_seconds - row.eval_seconds for row in last]
    speed = [
        count * row.env_steps / row.train_seconds if row.train_seconds > 0 else math.nan
        for count, row in zip(together, last, strict=True)
    ]
    compiling = [sum(_recorded(run, "compile_seconds")) or None for run in group]
    memory = [max(_recorded(run, "peak_memory_bytes"), default=None) for run in group]
    device = [max(_recorded(run, "device_peak_memory_bytes"), default=None) for run in group]
    yield _median(together, ids)
    yield _median([row.wall_seconds for row in last], ids)
    yield _median([row.train_seconds for row in last], ids)
    yield _median([row.eval_seconds for row in last], ids)
    yield _median(other, ids)
    yield _median(compiling, ids, digits=1)
    yield _median(speed, ids)
    yield _median([size and size / 2**20 for size in memory], ids)
    yield _median([size and size / 2**20 for size in device], ids)


def _configured(group: Sequence[Run]) -> Iterator[Entry]:
    """Yields an entry for each of `_CONFIGURED`."""
    readable = [run for run in group if run.configuration and run.state != "damaged"]
    ids = tuple(run.run_id for run in readable)
    configurations = [run.configuration for run in readable if run.configuration]
    yield _median([each.parameter_count for each in configurations], ids)
    yield _median([each.evaluations_per_action for each in configurations], ids)
    yield Entry(_tuning(configurations[0]) if configurations else NOT_RECORDED)


def _effort(group: Sequence[Run], steps_per_update: int) -> Iterator[Entry]:
    """Yields an entry for each of `_EFFORT`, of runs that came to the end."""
    told = [(run, steps) for run in group if (steps := _gradient_steps(run)) is not None]
    ids = tuple(run.run_id for run, _ in told)
    ratios = [steps / steps_per_update for _, steps in told]
    trained = [run.status.ledger.train_steps if run.status else 0 for run, _ in told]
    yield _median([a * b for a, b in zip(ratios, trained, strict=True)], ids)
    yield _median(ratios, ids, digits=5)


def _gradient_steps(run: Run) -> float | None:
    """Returns how many one update of the budget takes, as the run's newest start recorded it."""
    recorded = _recorded(run, "gradient_steps")
    return recorded[-1] if recorded else None


def _recorded(run: Run, key: str) -> list[float]:
    """Returns a number that every start of a run may have recorded."""
    starts = run.record.provenance if run.record else ()
    values = [start.get(key) for start in starts]
    return [x for x in values if isinstance(x, int | float) and not isinstance(x, bool)]


def _median(values: Sequence[float | None], runs: tuple[str, ...], digits: int = 0) -> Entry:
    known = [value for value in values if value is not None]
    if not known:
        return Entry(NOT_RECORDED)
    return number(float(np.median(known)), digits, runs)


def _tuning(configuration: Configuration) -> str:
    """Returns what the protocol says of the search for an algorithm's hyper-parameters."""
    table = configuration.protocol.get("tuning")
    found = table.get(configuration.algorithm) if isinstance(table, Mapping) else None
    if not isinstance(found, Mapping) or not found:
        return NOT_RECORDED
    counts = [f"{plain(found[name])} {name}" for name in _COUNTED if name in found]
    text = " × ".join(counts)
    if "total_steps" in found:  # fewer than the product where candidates were dropped on the way
        text = f"{text} at most, {plain(found['total_steps'])} steps in all"
    return f"{text}, on {plain(found['tasks'])}" if "tasks" in found else text


def _machine(run: Run, start: Mapping[str, Any]) -> tuple[str, ...]:
    device, packages, git, flags = (
        _part(start, name) for name in ("device", "packages", "git", "environment")
    )
    commit = str(git.get("commit", ""))[:8]
    return (
        run.configuration.engine if run.configuration else "",
        f"{device.get('kind', 'unknown')} x {device.get('count', '?')}",
        f"{start.get('cpu') or 'unknown'}, {start.get('cpus_available') or '?'} usable",
        str(start.get("python", "")),
        ", ".join(f"{name} {version}" for name, version in sorted(packages.items()) if version),
        ", ".join(f"{name}={value}" for name, value in sorted(flags.items())),
        f"{commit}{'' if git.get('clean', True) else ' with changes'}",
    )


def _part(start: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Returns a part of provenance, nothing where a stranger's file has something else there."""
    part = start.get(name)
    return part if isinstance(part, Mapping) else {}
