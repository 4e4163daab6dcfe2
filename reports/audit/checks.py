"""The checks of an audit: what ran, on what it ran, with which settings, and its files.

What makes a comparison unfair fails. What a reader should merely know of is a warning.
What an older version did not store is said to be not recorded, never to be fine.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from reports.analysis.budgets import judge_steps
from reports.audit.agreement import (
    Check,
    Word,
    agreement,
    from_findings,
    groups_of,
    minorities,
    of_starts,
)
from reports.runs.cross_checks import different_models
from reports.runs.merging import effective_flags
from reports.runs.names import display_name, listed
from reports.runs.results import FindingKind, Results, Run, run_name
from suite.common.errors import UserError
from suite.common.formatting import plain
from suite.configuration.protocol import Protocol

UNFINISHED = "finished"
"""Name of the check that fails while runs are still to be trained."""

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "budget and geometry": (
        "total_steps",
        "num_envs",
        "rollout_length",
        "chunk_length",
        "num_minibatches",
        "num_epochs",
    ),
    "observations": ("normalizer", "normalizer_timing"),
    "rewards and time limits": ("truncation", "discount", "task_discount"),
    "training starts": ("starts", "bank_size", "random_phase", "restart_interval"),
    "evaluation rule": ("eval_interval", "eval_episodes", "eval_seed"),
}
"""Fields of the protocol by what they rule."""

_START_TOLERANCE = 1e-4
"""Of the projection of start states, relative: what different rounding may change."""


def audit(results: Results, varied: Collection[str] = ()) -> tuple[Check, ...]:
    """Returns every check.

    Args:
        results: stored runs, loaded with `refuse=False` or without findings of the kind
            `protocol`.
        varied: fields of the protocol in which the arms of an ablation differ on purpose.
    """
    return (
        _cells(results),
        _repeated(results),
        _finished(results),
        _first_tries(results),
        Check("equal steps", *judge_steps(results)),
        _protocol(results),
        *_protocol_checks(results, varied),
        _episodes(results),
        _evaluation_starts(results),
        _models(results),
        _engine(results),
        _numerics(results),
        _machines(results),
        _code(results),
        _packages(results),
        _reward_scale(results),
        _settings(results),
        _parameters(results),
        _tuning(results),
        _files(results),
        _numbers(results),
    )


# --- What ran ----------------------------------------------------------------------------


def _cells(results: Results) -> Check:
    """Every algorithm has every seed on every task, none twice, none copied."""
    expected = {
        (algorithm, task): _expected_seeds(results, algorithm, task)
        for algorithm in results.algorithms
        for task in results.tasks
    }
    missing = [
        f"{task}/{algorithm}/seed-{seed:03d}"
        for (algorithm, task), seeds in expected.items()
        for seed in sorted(seeds - {run.seed for run in results.runs_of(algorithm, task)})
    ]
    if missing:
        return Check("every cell", "failed", f"missing: {listed(missing)}")
    text = f"{len(results.runs)} cells, none missing"
    if len({frozenset(seeds) for seeds in expected.values()}) == 1:
        seeds = next(iter(expected.values()))
        count = f"{len(results.algorithms)} algorithms x {len(results.tasks)} tasks"
        text = f"{count} x {len(seeds)} seeds, {text}"
    verdicts: Mapping[FindingKind, Word] = {
        "copied": "failed",
        "duplicate": "warning",
        "fewer tasks": "warning",
        "unequal seeds": "warning",
    }
    return from_findings(results, "every cell", verdicts, text)


def _expected_seeds(results: Results, algorithm: str, task: str) -> set[int]:
    """Returns the seeds that an algorithm should have on a task, also those that nobody has.

    Which seeds were trained together, every run of them tells.
    """
    seeds = set(results.expected_seeds(algorithm, task))
    if not seeds:
        return set()
    homes = {run.directory for run in results.runs if run.algorithm == algorithm}
    together = [
        run.configuration.seeds_together
        for run in results.runs
        if run.configuration and run.directory in homes
    ]
    return seeds.union(*together)


def _repeated(results: Results) -> Check:
    """What ran twice gave the same twice, unless another machine or version explains it."""
    verdicts: Mapping[FindingKind, Word] = {"contradiction": "failed", "rerun": "warning"}
    text = "no two directories hold different results of one setting and seed"
    return from_findings(results, "repeated cells", verdicts, text)


def _finished(results: Results) -> Check:
    """Every run came to its end; a divergence is a result, not a fault of the comparison."""
    verdicts: Mapping[FindingKind, Word] = {"partial": "failed", "diverged": "warning"}
    return from_findings(results, UNFINISHED, verdicts, "every run came to its end")


def _first_tries(results: Results) -> Check:
    """No seed was tried again after it had diverged, which only some methods may need."""
    text = "every run is the first try of its seed"
    return from_findings(results, "first tries", {"retried": "warning"}, text)


def _protocol(results: Results) -> Check:
    text = f"one protocol, {results.protocol.name}, fingerprint {results.protocol.fingerprint()}"
    return from_findings(results, "protocol", {"protocol": "failed"}, text)


def _protocol_checks(results: Results, varied: Collection[str]) -> Iterator[Check]:
    """Yields a check for each part of the protocol that the runs must share."""
    fields_of = results.protocol.effective()
    protocol = {field: value for field, value in fields_of.items() if field not in varied}
    stored = {run.run_id: _effective(run) for run in results.runs}
    differing = {field: _differing_runs(results, stored, field) for field in protocol}
    shared = {
        name: tuple(field for field in fields if field in protocol)
        for name, fields in _FIELDS.items()
    }
    named = {field for fields in shared.values() for field in fields}
    comparable = set(protocol) - set(Protocol.descriptive_fields())
    rules = {**shared, "other rules": tuple(sorted(comparable - named))}
    for name, fields in rules.items():
        wrong = [f"{field}: {text}" for field in fields if (text := differing[field])]
        if wrong:
            yield Check(name, "failed", "; ".join(wrong))
        elif fields:
            shown = ", ".join(f"{field} = {plain(protocol[field])}" for field in fields)
            yield Check(name, "ok", shown)
    noted = [
        f"{field}: {text}"
        for field in sorted(protocol.keys() - comparable)
        if (text := differing[field])
    ]
    if noted:
        yield Check("notes of the protocol", "warning", "; ".join(noted))


def _effective(run: Run) -> Mapping[str, Any]:
    """Returns what the fields of a run's protocol come to, those that its version knew."""
    stored = run.configuration.protocol if run.configuration else {}
    try:
        effective = Protocol.from_dict(stored, "run.json").effective()
    except UserError:  # an edited one is compared as it is written
        return stored
    return {field: effective[field] for field in stored}


def _differing_runs(results: Results, stored: Mapping[str, Mapping[str, Any]], field: str) -> str:
    """Says which runs have another value of a protocol's field than protocol.json."""
    first = _canonical(results.protocol.effective()[field])

    def value(run: Run) -> str | None:
        # A field that an older version did not know is not told apart from protocol.json's.
        fields = stored[run.run_id]
        return _canonical(fields[field]) if field in fields else None

    groups = groups_of(results.runs, value)
    others = {each: names for each, names in groups.items() if each not in (None, first)}
    texts = [f"{each} in {listed(names)}" for each, names in sorted(others.items(), key=str)]
    return f"{'; '.join(texts)}, but {first} in protocol.json" if texts else ""


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _episodes(results: Results) -> Check:
    """Every evaluation had the protocol's number of episodes, in both modes."""
    name, expected = "evaluation episodes", results.protocol.eval_episodes
    wrong = [
        f"{run_name(run)} has {sorted(set(run.curve['episodes'].tolist()) - {expected})}"
        for run in results.runs
        if (run.curve["episodes"] != expected).any()
    ]
    if wrong:
        return Check(name, "failed", f"{expected} an evaluation, but {listed(wrong, '; ')}")
    one_mode = [
        run_name(run) for run in results.runs if len(run.curve) and run.modes != results.modes
    ]
    if one_mode:
        text = f"not every mode ({', '.join(results.modes)}) in {listed(one_mode)}"
        return Check(name, "failed", text)
    text = f"{expected} in each evaluation and mode ({', '.join(results.modes)})"
    return Check(name, "ok", text)


def _evaluation_starts(results: Results) -> Check:
    """All runs on a task were evaluated from the same start states."""
    name = "evaluation starts"
    bits = agreement(name, results, _start_bits, "failed", per_task=True)
    if bits.verdict != "failed":
        return bits
    for task in results.tasks:
        sums = [_start_sum(run) for run in results.runs if run.task == task]
        known = [each for each in sums if each is not None]
        if known and max(known) - min(known) > _START_TOLERANCE * max(1, *map(abs, known)):
            return bits
    text = f"the same but for the rounding of different processors: {bits.text}"
    return Check(name, "warning", text)


def _start_bits(run: Run) -> str | None:
    starts = run.configuration.eval_starts if run.configuration else None
    return str(starts.get("sha256")) if starts else None


def _start_sum(run: Run) -> float | None:
    starts = run.configuration.eval_starts if run.configuration else None
    value = starts.get("projection") if starts else None
    return float(value) if isinstance(value, int | float) else None


def _models(results: Results) -> Check:
    def model(run: Run) -> str | None:
        return run.configuration.model_hash[:16] if run.configuration else None

    check = agreement("task models", results, model, "failed", per_task=True)
    same = [
        not different_models([run for run in results.runs if run.task == task])
        for task in results.tasks
    ]
    if check.verdict == "failed" and all(same):
        text = f"compiled by different MuJoCo versions, so their digests tell nothing: {check.text}"
        return Check(check.name, "warning", text)
    return check


def _engine(results: Results) -> Check:
    def engine(run: Run) -> str | None:
        return run.configuration.engine if run.configuration else None

    return agreement("engine", results, engine, "failed")


# --- On what it ran ----------------------------------------------------------------------


def _numerics(results: Results) -> Check:
    """All runs computed with numbers and products of one width, whatever the setting is called."""

    def numerics(start: Mapping[str, Any]) -> str | None:
        device = start.get("device")
        if not isinstance(device, Mapping) or "matmul_precision" not in device:
            return None
        return f"{'64-bit' if device.get('x64') else '32-bit'} numbers, {_products(device)}"

    return agreement("numerics", results, of_starts(numerics), "failed")


def _products(device: Mapping[str, Any]) -> str:
    """Returns what a device makes of its setting of the precision of products.

    A CPU multiplies whole numbers whatever the setting (tests/reports/runs/test_merging.py).
    """
    setting = str(device["matmul_precision"])
    precision = _PRECISIONS.get(setting, setting)
    if device.get("platform") == "cpu" or precision == "highest":
        return "whole products"
    return f"products at precision {precision}"


_PRECISIONS: Mapping[str, str] = {
    "default": "default",
    "bfloat16": "default",
    "fastest": "default",
    "high": "high",
    "tensorfloat32": "high",
    "bfloat16_3x": "high",
    "highest": "highest",
    "float32": "highest",
}
"""What `jax.lax.Precision` makes of the names that JAX takes."""


def _machines(results: Results) -> Check:
    def machine(start: Mapping[str, Any]) -> str | None:
        device = start.get("device")
        if not isinstance(device, Mapping):
            return None
        flags = effective_flags(start)
        parts = [device.get("kind"), start.get("cpu"), f"Python {start.get('python')}"]
        return ", ".join(map(plain, [*parts, *([flags] if flags else [])]))

    return agreement("machines and flags", results, of_starts(machine), "warning")


def _code(results: Results) -> Check:
    def commit(start: Mapping[str, Any]) -> str | None:
        git = start.get("git")
        if not isinstance(git, Mapping) or not git.get("commit"):
            return None
        return f"commit {str(git['commit'])[:12]}{'' if git.get('clean') else ' with changes'}"

    name = "code version"
    if changed := list(_changed_methods(results)):
        return Check(name, "failed", "; ".join(changed))
    check = agreement(name, results, of_starts(commit), "warning")
    verdict, text = check.verdict, check.text
    if verdict == "ok" and "with changes" in text:
        verdict, text = "warning", f"{text}: what was changed is not known"
    untold = [run_name(run) for run in results.runs if None in _sources(run) or not _sources(run)]
    if len(untold) == len(results.runs):
        return Check(name, verdict, f"{text}; no run tells the source of its method")
    if untold:
        return Check(name, "warning", f"{text}; source of the method not told by {listed(untold)}")
    verdict = "ok" if verdict == "not recorded" else verdict
    return Check(name, verdict, f"{text}; each method has one source in all of its runs")


def _changed_methods(results: Results) -> Iterator[str]:
    """Yields which method was not the same program in all of its runs, as far as they tell."""
    for algorithm in results.algorithms:
        runs = [run for run in results.runs if run.algorithm == algorithm]
        told: dict[str, list[str]] = {}
        for run in runs:
            for source in _sources(run) - {None}:
                told.setdefault(f"source {source}", []).append(run_name(run))
        if len(told) > 1:
            modules = ", ".join(_changed_modules(runs))
            changed = f"was changed{f' in {modules}' if modules else ''} between its runs"
            yield f"{display_name(algorithm)} {changed}: {minorities(told)}"


def _sources(run: Run) -> set[str | None]:
    """Returns what the starts of a run tell of their method's source, None where one does not."""
    methods = _methods(run)
    return {str(method["source"]) if method.get("source") else None for method in methods}


def _changed_modules(runs: Collection[Run]) -> list[str]:
    digests: dict[str, set[str]] = {}
    for method in (method for run in runs for method in _methods(run)):
        modules = method.get("modules")
        for name, digest in modules.items() if isinstance(modules, Mapping) else ():
            digests.setdefault(str(name), set()).add(str(digest))
    return sorted(name for name, found in digests.items() if len(found) > 1)


def _methods(run: Run) -> list[Mapping[str, Any]]:
    """Returns what each start of a run recorded of its method, nothing in older versions."""
    methods = [start.get("method") for start in (run.record.provenance if run.record else ())]
    return [method if isinstance(method, Mapping) else {} for method in methods]


def _packages(results: Results) -> Check:
    """Every package had one version; names those that had several."""
    tables = [
        (run_name(run), start.get("packages"))
        for run in results.runs
        for start in (run.record.provenance if run.record else ())
    ]
    known = [(name, table) for name, table in tables if isinstance(table, Mapping)]
    if not known:
        return Check("package versions", "not recorded", "no run tells its packages")
    texts = []
    for package in sorted({package for _, table in known for package in table}):
        versions: dict[str, list[str]] = {}
        for name, table in known:
            versions.setdefault(str(table.get(package)), []).append(name)
        if len(versions) > 1:
            texts.append(f"{package} {minorities(versions)}")
    if texts:
        return Check("package versions", "warning", "; ".join(texts))
    count = len({package for _, table in known for package in table})
    return Check("package versions", "ok", f"{count} packages, one version each")


# --- Settings and effort -----------------------------------------------------------------


def _reward_scale(results: Results) -> Check:
    """Shows what each algorithm multiplies rewards by, which is its own to choose."""

    def scale(run: Run) -> str | None:
        settings = run.configuration.hyperparameters if run.configuration else {}
        return plain(settings["reward_scale"]) if "reward_scale" in settings else None

    return agreement("reward scale", results, scale, "warning")


def _settings(results: Results) -> Check:
    text = "one set of hyper-parameters for each algorithm"
    return from_findings(results, "hyper-parameters", {"variant": "warning"}, text)


def _parameters(results: Results) -> Check:
    """Shows the sizes, which differ between methods by nature but not within one."""
    shown, wrong = [], []
    for algorithm in results.algorithms:
        sizes: set[int] = set()
        for task in results.tasks:
            runs = [run for run in results.runs_of(algorithm, task) if run.configuration]
            counts = {run.configuration.parameter_count for run in runs if run.configuration}
            sizes |= counts
            if len(counts) > 1:
                wrong.append(f"{task}/{algorithm} {' and '.join(map(str, sorted(counts)))}")
        if sizes:
            low, high = min(sizes), max(sizes)
            span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            shown.append(f"{display_name(algorithm)} {span}")
    if wrong:
        text = f"seeds of one algorithm differ in size: {listed(wrong, '; ')}"
        return Check("parameter counts", "failed", text)
    return Check("parameter counts", "ok", ", ".join(shown) or "none known")


def _tuning(results: Results) -> Check:
    """Shows how many configurations each algorithm's values were chosen from."""
    name, tuning = "tuning effort", results.protocol.tuning
    bases = dict.fromkeys(label.method for label in results.algorithms)
    known = {base: plain(tuning[base]) for base in bases if base in tuning}
    if not known:
        return Check(name, "not recorded", "the protocol does not tell how values were found")
    unknown = [base for base in bases if base not in tuning]
    texts = [f"{display_name(base)}: {text}" for base, text in known.items()]
    if unknown:
        texts.append(f"not recorded for {', '.join(map(display_name, unknown))}")
    equal = not unknown and len(set(known.values())) == 1
    return Check(name, "ok" if equal else "warning", "; ".join(texts))


# --- Files -------------------------------------------------------------------------------


def _files(results: Results) -> Check:
    """Every file of every cell is what its run wrote."""
    name = "files"
    faults = [
        f"{run_name(run)}: {finding.text}"
        for run in results.runs
        for finding in results.findings_for(run.run_id)
        if finding.kind in ("damaged", "edited")
    ]
    faults += [
        f"{run_name(run)}: {fault}"
        for run in results.runs
        for fault in run.files.faults
        if run.state != "running"
    ]
    if faults:
        return Check(name, "failed", listed(list(dict.fromkeys(faults)), "; "))
    unrecorded = [run_name(run) for run in results.runs if not run.files.recorded]
    if len(unrecorded) == len(results.runs):
        return Check(name, "not recorded", "no run has digests of its files")
    if unrecorded:
        return Check(name, "warning", f"no digests in {listed(unrecorded)}")
    unknown = [f"{run_name(run)}/{file}" for run in results.runs for file in run.files.unknown]
    if unknown:
        return Check(name, "warning", f"written by no run: {listed(unknown)}")
    return Check(name, "ok", f"every file of {len(results.runs)} cells is what its run wrote")


def _numbers(results: Results) -> Check:
    """Every return is a possible one, and the mean of the episodes stored with it."""
    verdicts: Mapping[FindingKind, Word] = {
        "out of bounds": "failed",
        "edited": "failed",
        "damaged": "failed",
        "not finite": "warning",
        "unequal lengths": "warning",
    }
    text = "every point of every curve is the mean of the episodes stored with it"
    return from_findings(results, "curves", verdicts, text)
