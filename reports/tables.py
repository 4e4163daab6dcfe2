"""Every table of a report; a table whose runs are not there is left out."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import statistics as summary
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from reports.analysis import LEVEL, Analysis
from reports.markup import FORMATS, Entry, Table, number
from reports.results import MAX_RETURN, Results, Run, display_name
from reports.scores import REDUCTIONS, Reduction
from reports.statistics import METRICS, Estimate
from suite.errors import UserError, unknown
from suite.files import atomic_write, make_directory
from suite.protocol import load_protocol

REFERENCES: Mapping[str, str] = {
    "gorl2025": "Table 1 of the GoRL paper: 180M steps, 5 seeds",
}
"""Published results that are shipped, in reports/reference."""

THRESHOLDS = (0.25, 0.5, 0.75)
"""Scores of the table of times to threshold."""

KL_FIELDS = frozenset({"latent_penalty", "later_latent_penalty", "penalty_form"})
STAGE_FIELDS = frozenset({"stage_shares", "decoder_rollouts", "decoder_samples", "decoder_data"})
NORMALIZER_FIELDS = frozenset({"keep_statistics"})
CONTROLS = ("ppo-matched", "ppo-matched-reset")


@dataclasses.dataclass(frozen=True)
class Published:
    """A published result of one algorithm on one task.

    Attributes:
        mean: of the final return.
        std: over seeds.
        seeds: their number.
    """

    mean: float
    std: float
    seeds: int


@dataclasses.dataclass(frozen=True)
class Reference:
    """Published results.

    Attributes:
        name: as given on the command line.
        description: one line.
        values: by algorithm and task.
    """

    name: str
    description: str
    values: Mapping[tuple[str, str], Published]


def load_reference(name_or_path: str) -> Reference:
    """Loads published results by name, or a CSV file with the same columns by path.

    Raises:
        UserError: there is none of that name, or the file is not such a table.
    """
    path = Path(name_or_path)
    if name_or_path in REFERENCES:
        file = resources.files("reports") / "reference" / f"{name_or_path}.csv"
        text, description = file.read_text(encoding="utf-8"), REFERENCES[name_or_path]
    elif path.suffix == ".csv" and path.is_file():
        text, description = path.read_text(encoding="utf-8", errors="replace"), path.name
    else:
        error = unknown("reference", name_or_path, REFERENCES)
        raise UserError(f"{error}; your own is given by the path of a .csv file")
    try:
        values = {
            (row["algorithm"], row["task"]): Published(
                float(row["return_mean"]), float(row["return_std"]), int(row["seeds"])
            )
            for row in csv.DictReader(io.StringIO(text))
        }
    except (KeyError, TypeError, ValueError) as error:
        columns = "algorithm,task,return_mean,return_std,seeds"
        raise UserError(
            f"reference {name_or_path}: not a table with the columns {columns} ({error})"
        ) from None
    return Reference(name_or_path, description, values)


def build_tables(analysis: Analysis, reference: Reference | None = None) -> list[Table]:
    """Returns every table that there are runs for, in the order of a report."""
    tables = [
        comparability(analysis),
        final_returns(analysis, reference),
        task_intervals(analysis),
        aggregates(analysis),
        pairwise(analysis),
        leave_one_task_out(analysis),
        reductions(analysis),
        times_to_threshold(analysis),
        ablation(analysis, "ablation_kl", "KL ablation", KL_FIELDS),
        ablation(analysis, "ablation_decoder_stages", "Decoder-stage ablation", STAGE_FIELDS),
        ablation(analysis, "ablation_normalizer", "Normalizer ablation", NORMALIZER_FIELDS),
        other_variants(analysis),
        controls(analysis),
        stages(analysis),
        ledger(analysis.results),
        cost(analysis.results),
        failures(analysis),
        deviations(analysis.results),
        hyperparameters(analysis.results),
        machines(analysis.results),
        runs(analysis),
    ]
    return [table for table in tables if table.rows]


def write_tables(tables: Iterable[Table], directory: Path) -> list[Path]:
    """Writes every table in every format of `markup.FORMATS`; returns the files.

    Raises:
        OSError: a file cannot be written.
    """
    make_directory(directory)
    files = []
    for table in tables:
        for ending, render in FORMATS.items():
            path = directory / f"{table.name}.{ending}"
            atomic_write(path, render(table).encode())
            files.append(path)
    return files


def comparability(analysis: Analysis) -> Table:
    """What makes the runs comparable, and what does not."""
    results = analysis.results
    protocol = results.protocol
    kinds = {finding.kind for finding in results.findings}
    unequal = [finding.where for finding in results.findings if finding.kind == "budget"]
    rows = [
        ("protocol", f"{protocol.name}, fingerprint {protocol.fingerprint()}"),
        ("run directories", ", ".join(results.directories)),
        ("budget", f"{results.budget:,} environment steps per run"),
        ("budgets equal to the step", "yes" if not unequal else f"no: {', '.join(unequal)}"),
        ("evaluation", _evaluation_rule(analysis)),
        ("engine", ", ".join(results.engines) or "unknown"),
        ("one engine", "no" if "engine" in kinds else "yes"),
        ("one physics model per task", "no" if "model" in kinds else "yes"),
        ("runs that count", f"{_counted(analysis)} of {_expected(results)}"),
        ("policy for the others", analysis.policy.describe()),
    ]
    return _table("comparability", "What was compared", ("question", "answer"), map(_texts, rows))


def final_returns(analysis: Analysis, reference: Reference | None = None) -> Table:
    """Final return per task and method, beside published numbers."""
    results = analysis.results
    rows = []
    for algorithm in results.algorithms:
        cells = [_mean_and_std(analysis, algorithm, task) for task in results.tasks]
        rows.append((Entry(display_name(algorithm)), *cells))
        if reference and any((algorithm, task) in reference.values for task in results.tasks):
            published = [_published(reference, algorithm, task) for task in results.tasks]
            rows.append((Entry(f"{display_name(algorithm)} ({reference.name})"), *published))
    note = f"Mean ± sample standard deviation over runs of the final return. {_rule(analysis)}"
    if reference:
        note += f" {reference.name}: {reference.description}."
    header = ("method", *results.tasks)
    return _table("final_returns", "Final return per task", header, rows, note)


def task_intervals(analysis: Analysis) -> Table:
    """Mean score per task with intervals."""
    results = analysis.results
    rows = [
        (
            Entry(display_name(algorithm)),
            *(
                _estimate(
                    analysis.task_estimate(algorithm, task),
                    analysis.scores_of(algorithm, task).run_ids,
                )
                for task in results.tasks
            ),
        )
        for algorithm in results.algorithms
    ]
    note = f"Mean final score over runs [{_interval(analysis)}]. {_rule(analysis)}"
    header = ("method", *results.tasks)
    return _table("task_scores", "Final score per task", header, rows, note)


def aggregates(analysis: Analysis) -> Table:
    """Aggregate metrics with intervals and what these really cover."""
    rows = []
    for algorithm in analysis.algorithms:
        estimates = [_estimate(analysis.aggregate(algorithm, metric)) for metric in METRICS]
        low, high = analysis.runs_per_task(algorithm)
        covered = analysis.coverage(algorithm)
        coverage = "" if math.isnan(covered[0]) else f"{covered[0]:.2f} / {covered[1]:.2f}"
        count = Entry(str(low) if low == high else f"{low}-{high}", low)
        name = Entry(display_name(algorithm), None, analysis.run_ids(algorithm))
        rows.append((name, count, *estimates, Entry(coverage)))
    note = (
        f"Final scores; number of tasks: {len(analysis.tasks)} [{_interval(analysis)}]. Coverage: "
        "how often such an interval of the IQM holds the truth in simulation, normal scatter / "
        f"with a fifth of the runs failing. {_rule(analysis)}{_left_out(analysis)}"
    )
    header = ("method", "runs per task", *METRICS, "coverage of 95%")
    return _table("aggregates", "Aggregate scores", header, rows, note)


def pairwise(analysis: Analysis) -> Table:
    """All pairs: difference, probability of improvement, corrected p-values."""
    rows = [
        (
            Entry(display_name(pair.first), None, analysis.run_ids(pair.first)),
            Entry(display_name(pair.second), None, analysis.run_ids(pair.second)),
            _estimate(pair.difference),
            _estimate(pair.improvement),
            Entry(_p_value(pair.p_value), pair.p_value),
            Entry(_p_value(pair.p_holm), pair.p_holm),
            Entry("yes" if pair.significant else "no"),
        )
        for pair in analysis.pairs
    ]
    note = (
        f"Differences of the IQM of final scores and P(first > second) [{_interval(analysis)}]. "
        f"p: stratified permutation test, {analysis.repetitions:,} permutations; Holm-corrected "
        f"for {len(rows)} pairs, claimed below {LEVEL:g}. {_rule(analysis)}"
    )
    header = ("first", "second", "IQM difference", "P(first > second)", "p", "p (Holm)", "differ")
    return _table("pairwise", "Pairwise comparisons", header, rows, note)


def leave_one_task_out(analysis: Analysis) -> Table:
    """How much the aggregate hangs on single tasks."""
    header = ("left out", *map(display_name, analysis.algorithms), "highest")
    everything = {a: analysis.aggregate(a).value for a in analysis.algorithms}
    shown = analysis.without_task and analysis.algorithms
    lines = {"none": everything, **analysis.without_task} if shown else {}
    rows = [
        (
            Entry(task),
            *(number(values[a], 3, _ids_without(analysis, a, task)) for a in analysis.algorithms),
            Entry(display_name(max(values, key=lambda a: values[a]))),
        )
        for task, values in lines.items()
    ]
    note = f"IQM of the final scores of the other tasks. {_rule(analysis)}"
    return _table("leave_one_task_out", "Leave one task out", header, rows, note)


def reductions(analysis: Analysis) -> Table:
    """The IQM of final, best and mean scores, each labelled for what it is."""
    columns: dict[Reduction, dict[str, Estimate]] = {
        reduction: {
            each.algorithm: each.estimate
            for each in analysis.aggregates(reduction)
            if each.metric == "IQM"
        }
        for reduction in REDUCTIONS
    }
    rows = [
        (
            Entry(display_name(algorithm), None, analysis.run_ids(algorithm)),
            *(_estimate(column.get(algorithm)) for column in columns.values()),
        )
        for algorithm in analysis.algorithms
    ]
    meaning = "; ".join(f"{name}: {text}" for name, text in REDUCTIONS.items())
    note = f"IQM over runs and tasks [{_interval(analysis)}]. {meaning}. {_rule(analysis)}"
    return _table("reductions", "Final, best and mean score", ("method", *columns), rows, note)


def times_to_threshold(analysis: Analysis) -> Table:
    """Environment steps until a score was first reached."""
    results = analysis.results
    rows = []
    for threshold in THRESHOLDS:
        for algorithm in results.algorithms:
            cells = [
                _time(
                    analysis.times_to_threshold(algorithm, task, threshold),
                    _finished_ids(results, algorithm, task),
                )
                for task in results.tasks
            ]
            rows.append((number(threshold, 2), Entry(display_name(algorithm)), *cells))
    note = (
        "Median over runs of the environment steps at the first evaluation with that score, and "
        f"how many runs reached it; mode: {analysis.mode}. Finished and diverged runs only."
    )
    header = ("score", "method", *results.tasks)
    return _table("time_to_threshold", "Steps to a score", header, rows, note)


def ablation(analysis: Analysis, name: str, title: str, fields: frozenset[str]) -> Table:
    """Variants of an algorithm that differ from it in some of `fields`."""
    chosen = [a for a, changed in _variants(analysis.results).items() if changed & fields]
    return _variant_table(analysis, name, title, chosen)


def other_variants(analysis: Analysis) -> Table:
    """Variants that belong to no other ablation."""
    known = KL_FIELDS | STAGE_FIELDS | NORMALIZER_FIELDS
    chosen = [a for a, changed in _variants(analysis.results).items() if not changed & known]
    return _variant_table(analysis, "variants", "Other hyper-parameters", chosen)


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
        for task in results.tasks:
            ends = [_stage_ends(run, analysis.mode) for run in results.runs_of(algorithm, task)]
            ids = tuple(run.run_id for run in results.runs_of(algorithm, task))
            last = max((max(each) for each in ends if each), default=0)
            if last:
                cells = [_spread([e[s] for e in ends if s in e], ids) for s in range(last + 1)]
                rows.append([Entry(display_name(algorithm)), Entry(task), *cells])
    width = max((len(row) for row in rows), default=2)
    header = ("method", "task", *(f"stage {index}" for index in range(width - 2)))
    filled = [(*row, *[Entry("")] * (width - len(row))) for row in rows]
    note = f"Mean ± sample standard deviation of the stage's last return, mode {analysis.mode}."
    return _table("stages", "Return after each stage", header, filled, note)


def ledger(results: Results) -> Table:
    """Environment steps by purpose, and whether they are the budget."""
    rows = []
    for algorithm, task, group in _groups(results):
        found = [run for run in group if run.status]
        ids = tuple(run.run_id for run in found)
        ledgers = [run.status.ledger for run in found if run.status]
        done = [run.status.ledger.env_steps for run in found if run.status and run.state == "done"]
        equal = "yes" if done and set(done) == {results.budget} else "no" if done else "unfinished"
        purposes = ("train_steps", "warmup_steps", "decoder_data_steps", "env_steps", "eval_steps")
        counts = [_common([getattr(each, name) for each in ledgers], ids) for name in purposes]
        rows.append((Entry(display_name(algorithm)), Entry(task), *counts, Entry(equal)))
    header = ("method", "task", "train", "warm-up", "decoder data", "sum", "evaluation", "equal")
    note = (
        f"Environment steps per run; a range where runs differ. Train, warm-up and decoder data "
        f"count against the budget of {results.budget:,}; equal: to the step, in finished runs."
    )
    return _table("ledger", "Ledger of environment steps", header, rows, note)


def cost(results: Results) -> Table:
    """Time, speed and size."""
    rows = []
    for algorithm, task, group in _groups(results):
        found = [run for run in group if run.configuration and len(run.curve)]
        if found:
            rows.append((Entry(display_name(algorithm)), Entry(task), *_cost(found)))
    header = (
        "method",
        "task",
        "seeds together",
        "wall-clock s",
        "compile and other s",
        "train s",
        "evaluate s",
        "steps/s",
        "parameters",
        "networks per action",
    )
    note = (
        "Medians over runs. Seconds are those of the job that trains `seeds together` at once "
        "and are measured with whatever else the machine did; steps/s: environment steps of all "
        "its seeds per second of training. Networks per action: policy-network evaluations."
    )
    return _table("cost", "Cost", header, rows, note)


def failures(analysis: Analysis) -> Table:
    """Everything that is missing, broken or different."""
    rows = [_texts((each.kind, each.where, each.text)) for each in analysis.results.findings]
    header = ("kind", "where", "what")
    return _table("findings", "Failures and findings", header, rows, analysis.policy.describe())


def deviations(results: Results) -> Table:
    """The fields in which the protocol differs from the paper's."""
    paper = load_protocol("paper")
    here, there = results.protocol.to_dict(), paper.to_dict()
    rows = [
        _texts((field, _plain(here[field]), _plain(there[field])))
        for field in results.protocol.differences(paper)
    ]
    note = "Fields of the protocol that differ from the preset `paper`, which follows its code."
    return _table("deviations", "Deviations", ("field", "here", "paper"), rows, note)


def hyperparameters(results: Results) -> Table:
    """Every hyper-parameter of every algorithm."""
    settings = {a: _settings(results, a) for a in results.algorithms}
    fields = sorted({field for each in settings.values() for field in each})
    rows = [
        (Entry(field), *(Entry(_plain(settings[a].get(field, ""))) for a in results.algorithms))
        for field in fields
    ]
    header = ("hyper-parameter", *map(display_name, results.algorithms))
    note = "As stored with the runs; empty where a method has no such hyper-parameter."
    return _table("hyperparameters", "Hyper-parameters", header, rows, note)


def machines(results: Results) -> Table:
    """On what the runs were made, one row per different answer."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for run in results.runs:
        for start in run.record.provenance if run.record else ():
            groups.setdefault(_machine(run, start), []).append(run.run_id)
    rows = [
        (*_texts(machine), number(len(set(ids)), 0, tuple(sorted(set(ids)))))
        for machine, ids in sorted(groups.items())
    ]
    header = ("engine", "device", "CPU", "Python", "packages", "flags", "program", "runs")
    note = "A run that was stopped and resumed counts once for every machine it was on."
    return _table("machines", "Machines and versions", header, rows, note)


def runs(analysis: Analysis) -> Table:
    """Every run with its id and its scores."""
    rows = []
    for run in analysis.results.runs:
        curve = run.mode_curve(analysis.mode)["return_mean"]
        last = number(float(curve.iloc[-1]) if len(curve) else None, 1, (run.run_id,))
        best = number(float(curve.max()) if len(curve) else None, 1, (run.run_id,))
        steps = number(run.status.ledger.env_steps if run.status else None, 0)
        name = Entry(display_name(run.algorithm))
        where = (Entry(run.task), number(run.seed, 0), Entry(run.state), steps, last, best)
        rows.append((name, *where, Entry(run.run_id), Entry(run.directory)))
    header = ("method", "task", "seed", "state", "steps", "last", "best", "run id", "directory")
    note = f"Returns of the last and the best evaluation, mode {analysis.mode}."
    return _table("runs", "Runs", header, rows, note)


def _table(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Entry]],
    note: str = "",
) -> Table:
    return Table(name, title, tuple(columns), tuple(tuple(row) for row in rows), note.strip())


def _texts(texts: Iterable[str]) -> tuple[Entry, ...]:
    return tuple(Entry(text) for text in texts)


def _groups(results: Results) -> Iterator[tuple[str, str, list[Run]]]:
    for algorithm in results.algorithms:
        for task in results.tasks:
            group = results.runs_of(algorithm, task)
            if group:
                yield algorithm, task, group


def _rule(analysis: Analysis) -> str:
    return f"Mode: {analysis.mode}. {analysis.policy.describe()}"


def _interval(analysis: Analysis) -> str:
    return f"95% percentile interval, stratified bootstrap, {analysis.repetitions:,} repetitions"


def _left_out(analysis: Analysis) -> str:
    if not analysis.left_out:
        return ""
    listed = "; ".join(
        f"{display_name(algorithm)} (no score on {', '.join(tasks) or 'some task'})"
        for algorithm, tasks in analysis.left_out.items()
    )
    return f" Not aggregated: {listed}."


def _evaluation_rule(analysis: Analysis) -> str:
    protocol = analysis.results.protocol
    return (
        f"{protocol.eval_episodes} episodes every {protocol.eval_interval} updates from common "
        f"start states, mode {analysis.mode}"
    )


def _counted(analysis: Analysis) -> int:
    results = analysis.results
    ids = [
        run_id
        for algorithm in results.algorithms
        for task in results.tasks
        for run_id in analysis.scores_of(algorithm, task).run_ids
    ]
    return sum(run_id != "missing" for run_id in ids)


def _expected(results: Results) -> int:
    return len(results.algorithms) * len(results.tasks) * len(results.seeds)


def _mean_and_std(analysis: Analysis, algorithm: str, task: str) -> Entry:
    found = analysis.scores_of(algorithm, task)
    entry = _spread(list(MAX_RETURN * found.scores), found.run_ids)
    expected = len(analysis.results.seeds)
    if found.run_ids and len(found) < expected:
        return dataclasses.replace(entry, text=f"{entry.text} (n = {len(found)})")
    return entry


def _spread(values: Sequence[float], runs: tuple[str, ...]) -> Entry:
    """Returns mean ± sample standard deviation, the mean alone for one value."""
    if not values:
        return Entry("", None, runs)
    mean = float(np.mean(values))
    if len(values) == 1:
        return Entry(f"{mean:.2f}", mean, runs)
    return Entry(f"{mean:.2f} ± {np.std(values, ddof=1):.2f}", mean, runs)


def _published(reference: Reference, algorithm: str, task: str) -> Entry:
    value = reference.values.get((algorithm, task))
    return Entry(f"{value.mean:.2f} ± {value.std:.2f}", value.mean) if value else Entry("")


def _estimate(estimate: Estimate | None, runs: tuple[str, ...] = ()) -> Entry:
    return Entry(str(estimate), estimate.value, runs) if estimate else Entry("", None, runs)


def _p_value(p: float) -> str:
    return "<0.0001" if p < 1e-4 else f"{p:.4f}"


def _ids_without(analysis: Analysis, algorithm: str, left_out: str) -> tuple[str, ...]:
    return tuple(
        run_id
        for task in analysis.tasks
        if task != left_out
        for run_id in analysis.scores_of(algorithm, task).run_ids
    )


def _finished_ids(results: Results, algorithm: str, task: str) -> tuple[str, ...]:
    runs = results.runs_of(algorithm, task)
    return tuple(run.run_id for run in runs if run.state in ("done", "diverged"))


def _time(times: Sequence[float], runs: tuple[str, ...]) -> Entry:
    """Returns the median time and how many runs got there: `1,200,000 (5/5)`."""
    if not times:
        return Entry("")
    median = summary.median_high(times)
    reached = sum(map(math.isfinite, times))
    text = number(median, 0).text if math.isfinite(median) else "not reached"
    return Entry(f"{text} ({reached}/{len(times)})", median, runs)


def _common(values: Sequence[int], runs: tuple[str, ...]) -> Entry:
    if not values:
        return Entry("", None, runs)
    low, high = min(values), max(values)
    return Entry(f"{low:,}" if low == high else f"{low:,}-{high:,}", high, runs)


def _cost(group: Sequence[Run]) -> Iterator[Entry]:
    ids = tuple(run.run_id for run in group)
    last = [run.curve.iloc[-1] for run in group]
    configurations = [run.configuration for run in group if run.configuration]
    together = [len(each.seeds_together) for each in configurations]
    other = [row.wall_seconds - row.train_seconds - row.eval_seconds for row in last]
    speed = [
        count * row.env_steps / row.train_seconds if row.train_seconds > 0 else math.nan
        for count, row in zip(together, last, strict=True)
    ]
    columns = [
        together,
        [row.wall_seconds for row in last],
        other,
        [row.train_seconds for row in last],
        [row.eval_seconds for row in last],
        speed,
        [each.parameter_count for each in configurations],
        [each.evaluations_per_action for each in configurations],
    ]
    for values in columns:
        yield number(float(np.median(values)), 0, ids)


def _settings(results: Results, algorithm: str) -> Mapping[str, Any]:
    found = [r.configuration for r in results.runs if r.algorithm == algorithm and r.configuration]
    return found[0].hyperparameters if found else {}


def _variants(results: Results) -> dict[str, frozenset[str]]:
    """Returns labels of variants with the hyper-parameters in which they differ from the base."""
    variants = {}
    for algorithm in results.algorithms:
        base = _base(algorithm)
        if base != algorithm and base in results.algorithms:
            mine, theirs = _settings(results, algorithm), _settings(results, base)
            fields = {*mine, *theirs}
            changed = {field for field in fields if mine.get(field) != theirs.get(field)}
            variants[algorithm] = frozenset(changed)
    return variants


def _base(algorithm: str) -> str:
    return algorithm.partition(" [")[0]


def _variant_table(
    analysis: Analysis, name: str, title: str, chosen: Sequence[str], base: str | None = None
) -> Table:
    """Returns chosen algorithms below those that they vary, with differences of the IQM."""
    results = analysis.results
    rows = []
    shown: set[str] = set()
    for algorithm in chosen:
        origin = base or _base(algorithm)
        for each in (origin, algorithm):
            if each in results.algorithms and each not in shown:
                shown.add(each)
                varied = each != origin and origin in results.algorithms
                difference = analysis.difference(each, origin) if varied else None
                cells = [_mean_and_std(analysis, each, task) for task in results.tasks]
                shown_name = Entry(display_name(each), None, analysis.run_ids(each))
                rows.append((shown_name, *cells, _estimate(difference)))
    note = (
        "Final return, mean ± sample standard deviation; IQM score less that of the method "
        f"varied, on the tasks that both have [{_interval(analysis)}]. {_rule(analysis)}"
    )
    return _table(name, title, ("method", *results.tasks, "IQM difference"), rows, note)


def _stage_ends(run: Run, mode: str) -> dict[int, float]:
    """Returns the last return of each stage."""
    rows = run.mode_curve(mode)
    return {int(s): float(r) for s, r in zip(rows["stage"], rows["return_mean"], strict=True)}


def _machine(run: Run, start: Mapping[str, Any]) -> tuple[str, ...]:
    device = start.get("device") or {}
    packages = start.get("packages") or {}
    git = start.get("git") or {}
    flags = start.get("environment") or {}
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


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_plain(each)}" for key, each in sorted(value.items()))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
