"""Whether a comparison was fair: one check for each thing that must be equal, or be known.

What makes a comparison unfair fails. What a reader should merely know of is a warning.
What an older version did not store is said to be not recorded, never to be fine.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reports.entries import plain
from reports.loading import load_results
from reports.results import FindingKind, Results, Run, display_name
from suite.ablation import SOURCE, is_ablation, read_ablation
from suite.errors import UserError
from suite.protocol import Protocol
from suite.storage.store import is_run

Word = Literal["ok", "failed", "warning", "not recorded"]

UNFINISHED = "finished"
"""Name of the check that fails while runs are still to be trained."""

MAX_NAMED = 6
"""Runs or files that a sentence names before it only counts the others."""

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
    "training starts": ("starts", "bank_size", "random_phase"),
    "evaluation rule": ("eval_interval", "eval_episodes", "eval_seed"),
}
"""Fields of the protocol by what they rule."""

_START_TOLERANCE = 1e-4
"""Of the projection of start states, relative: what different rounding may change."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One question of an audit.

    Attributes:
        name: what was checked.
        verdict: `failed` if the comparison is unfair, `warning` if it is only odd.
        text: one sentence with the runs and values concerned.
    """

    name: str
    verdict: Word
    text: str


def audit(results: Results, varied: Collection[str] = ()) -> tuple[Check, ...]:
    """Returns every check.

    Args:
        results: stored runs, loaded with `refuse=False` or without findings of the kind
            `protocol`.
        varied: fields of the protocol in which the arms of an ablation differ on purpose.
    """
    return (
        _cells(results),
        _finished(results),
        _first_tries(results),
        _steps(results),
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


def audit_directories(run_dirs: Sequence[Path]) -> tuple[Check, ...]:
    """Returns every check of run directories that are compared with each other.

    The arms of an ablation, which differ on purpose, are each checked by themselves; the
    names of their checks then begin with the arm's.

    Raises:
        UserError: there are no runs, or there are other directories beside an ablation's.
    """
    ablations = [path for path in run_dirs if is_ablation(path)]
    if not ablations:
        return audit(load_results(run_dirs, refuse=False))
    if len(run_dirs) > 1:
        raise UserError(f"{ablations[0]} is an ablation; audit it by itself")
    ablation = read_ablation(ablations[0])
    names = [*([SOURCE] if ablation.source else []), *(arm.name for arm in ablation.arms)]
    checks: list[Check] = []
    for name in names:
        if is_run(ablations[0] / name):
            found = audit(load_results([ablations[0] / name], refuse=False))
            checks += [dataclasses.replace(each, name=f"{name}: {each.name}") for each in found]
        else:
            checks.append(Check(f"{name}: every cell", "failed", "no run of it was started"))
    return tuple(checks)


def failed(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Returns the checks that say that a comparison was not fair."""
    return tuple(check for check in checks if check.verdict == "failed")


def render(checks: Sequence[Check]) -> str:
    """Returns an audit for a terminal: a line for each check, and the verdict."""
    words = {"ok": "ok", "failed": "FAILED", "warning": "warning", "not recorded": "not recorded"}
    width = max(len(check.name) for check in checks)
    lines = [f"{words[check.verdict]:<12}  {check.name:<{width}}  {check.text}" for check in checks]
    bad = failed(checks)
    count = f"{len(checks)} checks, {len(bad)} failed"
    verdict = f"audit failed: {', '.join(check.name for check in bad)}" if bad else "audit passed"
    return "\n".join([*lines, f"{verdict} ({count})"])


def to_plain(checks: Sequence[Check]) -> dict[str, Any]:
    """Returns an audit as plain data for JSON."""
    return {
        "verdict": "failed" if failed(checks) else "ok",
        "checks": [dataclasses.asdict(check) for check in checks],
    }


# --- What ran ----------------------------------------------------------------------------


def _cells(results: Results) -> Check:
    """Every algorithm has every seed on every task, none twice, none copied."""
    expected = {
        seed
        for run in results.runs
        for seed in (run.configuration.seeds_together if run.configuration else ())
    } | set(results.seeds)
    missing = [
        f"{task}/{algorithm}/seed-{seed:03d}"
        for algorithm in results.algorithms
        for task in results.tasks
        for seed in sorted(expected - {run.seed for run in results.runs_of(algorithm, task)})
    ]
    if missing:
        return Check("every cell", "failed", f"missing: {_listed(missing)}")
    count = f"{len(results.algorithms)} algorithms x {len(results.tasks)} tasks"
    text = f"{count} x {len(expected)} seeds, {len(results.runs)} cells, none missing"
    return _from_findings(results, "every cell", {"copied": "failed", "duplicate": "warning"}, text)


def _finished(results: Results) -> Check:
    """Every run came to its end; a divergence is a result, not a fault of the comparison."""
    verdicts: Mapping[FindingKind, Word] = {"partial": "failed", "diverged": "warning"}
    return _from_findings(results, UNFINISHED, verdicts, "every run came to its end")


def _first_tries(results: Results) -> Check:
    """No seed was tried again after it had diverged, which only some methods may need."""
    text = "every run is the first try of its seed"
    return _from_findings(results, "first tries", {"retried": "warning"}, text)


def _steps(results: Results) -> Check:
    """Every finished run took the budget, to the step."""
    taken = {
        _name(run): run.status.ledger.env_steps
        for run in results.runs
        if run.state == "done" and run.status
    }
    budget = results.budget
    wrong = [
        f"{name} took {steps:,} ({100 * (steps - budget) / budget:+.2g}%)"
        for name, steps in taken.items()
        if steps != budget
    ]
    if wrong:
        text = f"the budget is {budget:,} environment steps, but {_listed(wrong, '; ')}"
        return Check("equal steps", "failed", text)
    if not taken:
        return Check("equal steps", "warning", "no run is finished, so none can be judged")
    text = f"{budget:,} environment steps in each of {len(taken)} finished runs, by their ledgers"
    return Check("equal steps", "ok", text)


def _protocol(results: Results) -> Check:
    text = f"one protocol, {results.protocol.name}, fingerprint {results.protocol.fingerprint()}"
    return _from_findings(results, "protocol", {"protocol": "failed"}, text)


def _protocol_checks(results: Results, varied: Collection[str]) -> Iterator[Check]:
    """Yields a check for each part of the protocol that the runs must share."""
    fields_of = results.protocol.to_dict()
    protocol = {field: value for field, value in fields_of.items() if field not in varied}
    differing = {field: _differing_runs(results, field) for field in protocol}
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


def _differing_runs(results: Results, field: str) -> str:
    """Says which runs have another value of a protocol's field than protocol.json."""
    first = _canonical(results.protocol.to_dict()[field])

    def value(run: Run) -> str | None:
        # A field that an older version did not know is not told apart from protocol.json's.
        stored = run.configuration.protocol if run.configuration else {}
        return _canonical(stored[field]) if field in stored else None

    groups = _groups(results.runs, value)
    others = {each: names for each, names in groups.items() if each not in (None, first)}
    texts = [f"{each} in {_listed(names)}" for each, names in sorted(others.items(), key=str)]
    return f"{'; '.join(texts)}, but {first} in protocol.json" if texts else ""


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _episodes(results: Results) -> Check:
    """Every evaluation had the protocol's number of episodes, in both modes."""
    name, expected = "evaluation episodes", results.protocol.eval_episodes
    wrong = [
        f"{_name(run)} has {sorted(set(run.curve['episodes'].tolist()) - {expected})}"
        for run in results.runs
        if (run.curve["episodes"] != expected).any()
    ]
    if wrong:
        return Check(name, "failed", f"{expected} an evaluation, but {_listed(wrong, '; ')}")
    one_mode = [_name(run) for run in results.runs if len(run.curve) and run.modes != results.modes]
    if one_mode:
        text = f"not every mode ({', '.join(results.modes)}) in {_listed(one_mode)}"
        return Check(name, "failed", text)
    text = f"{expected} in each evaluation and mode ({', '.join(results.modes)})"
    return Check(name, "ok", text)


def _evaluation_starts(results: Results) -> Check:
    """All runs on a task were evaluated from the same start states."""
    name = "evaluation starts"
    bits = _agreement(name, results, _start_bits, "failed", per_task=True)
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

    return _agreement("task models", results, model, "failed", per_task=True)


def _engine(results: Results) -> Check:
    def engine(run: Run) -> str | None:
        return run.configuration.engine if run.configuration else None

    return _agreement("engine", results, engine, "failed")


# --- On what it ran ----------------------------------------------------------------------


def _numerics(results: Results) -> Check:
    def numerics(start: Mapping[str, Any]) -> str | None:
        device = start.get("device")
        if not isinstance(device, Mapping) or "matmul_precision" not in device:
            return None
        wide = "64-bit" if device.get("x64") else "32-bit"
        return f"{wide}, matmul precision {device['matmul_precision']}"

    return _agreement("numerics", results, _of_starts(numerics), "failed")


def _machines(results: Results) -> Check:
    def machine(start: Mapping[str, Any]) -> str | None:
        device = start.get("device")
        if not isinstance(device, Mapping):
            return None
        flags = start.get("environment")
        parts = [device.get("kind"), start.get("cpu"), f"Python {start.get('python')}"]
        return ", ".join(map(plain, [*parts, *([flags] if flags else [])]))

    return _agreement("machines and flags", results, _of_starts(machine), "warning")


def _code(results: Results) -> Check:
    def commit(start: Mapping[str, Any]) -> str | None:
        git = start.get("git")
        if not isinstance(git, Mapping) or not git.get("commit"):
            return None
        return f"commit {str(git['commit'])[:12]}{'' if git.get('clean') else ' with changes'}"

    check = _agreement("code version", results, _of_starts(commit), "warning")
    if check.verdict == "ok" and "with changes" in check.text:
        text = f"{check.text}: what was changed is not known"
        return Check(check.name, "warning", text)
    return check


def _packages(results: Results) -> Check:
    """Every package had one version; names those that had several."""
    tables = [
        (_name(run), start.get("packages"))
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
            texts.append(f"{package} {_minorities(versions)}")
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

    return _agreement("reward scale", results, scale, "warning")


def _settings(results: Results) -> Check:
    text = "one set of hyper-parameters for each algorithm"
    return _from_findings(results, "hyper-parameters", {"variant": "warning"}, text)


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
        text = f"seeds of one algorithm differ in size: {_listed(wrong, '; ')}"
        return Check("parameter counts", "failed", text)
    return Check("parameter counts", "ok", ", ".join(shown) or "none known")


def _tuning(results: Results) -> Check:
    """Shows how many configurations each algorithm's values were chosen from."""
    name, tuning = "tuning effort", results.protocol.tuning
    bases = dict.fromkeys(label.partition(" [")[0] for label in results.algorithms)
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
        f"{_name(run)}: {finding.text}"
        for run in results.runs
        for finding in results.findings_for(run.run_id)
        if finding.kind in ("damaged", "edited")
    ]
    faults += [
        f"{_name(run)}: {fault}"
        for run in results.runs
        for fault in run.files.faults
        if run.state != "running"
    ]
    if faults:
        return Check(name, "failed", _listed(list(dict.fromkeys(faults)), "; "))
    unrecorded = [_name(run) for run in results.runs if not run.files.recorded]
    if len(unrecorded) == len(results.runs):
        return Check(name, "not recorded", "no run has digests of its files")
    if unrecorded:
        return Check(name, "warning", f"no digests in {_listed(unrecorded)}")
    unknown = [f"{_name(run)}/{file}" for run in results.runs for file in run.files.unknown]
    if unknown:
        return Check(name, "warning", f"written by no run: {_listed(unknown)}")
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
    return _from_findings(results, "curves", verdicts, text)


# --- Sentences ---------------------------------------------------------------------------


def _name(run: Run) -> str:
    return run.run_id.partition("#")[0]


def _listed(names: Sequence[str], separator: str = ", ") -> str:
    shown = list(names[:MAX_NAMED])
    more = len(names) - len(shown)
    return separator.join([*shown, f"and {more} more"] if more else shown)


def _from_findings(
    results: Results, name: str, verdicts: Mapping[FindingKind, Word], text: str
) -> Check:
    """Returns a check that fails or warns as findings of some kinds say, the worst first."""
    words: tuple[Word, ...] = ("failed", "warning")
    for verdict in words:
        found = [
            f"{finding.where.partition('#')[0]} {finding.text}"
            for finding in results.findings
            if verdicts.get(finding.kind) == verdict
        ]
        if found:
            return Check(name, verdict, _listed(found, "; "))
    return Check(name, "ok", text)


def _groups(runs: Iterable[Run], value: Callable[[Run], str | None]) -> dict[str | None, list[str]]:
    groups: dict[str | None, list[str]] = {}
    for run in runs:
        groups.setdefault(value(run), []).append(_name(run))
    return groups


def _of_starts(value: Callable[[Mapping[str, Any]], str | None]) -> Callable[[Run], str | None]:
    """Turns a question to one start of a run into one to all of its starts."""

    def answer(run: Run) -> str | None:
        starts = run.record.provenance if run.record else ()
        values = [each for each in map(value, starts) if each is not None]
        return ", then ".join(dict.fromkeys(values)) or None

    return answer


def _agreement(
    name: str,
    results: Results,
    value: Callable[[Run], str | None],
    severity: Word,
    per_task: bool = False,
) -> Check:
    """Returns a check that all runs, or all of one task, have one value."""
    parts = [[run for run in results.runs if run.task == task] for task in results.tasks]
    groups = [_groups(runs, value) for runs in (parts if per_task else [results.runs])]
    unknown = [each for group in groups for each in group.pop(None, [])]
    if not any(groups):
        return Check(name, "not recorded", "no run tells it")
    split = [group for group in groups if len(group) > 1]
    if split:
        texts = [_minorities({str(each): names for each, names in g.items()}) for g in split]
        return Check(name, severity, "; ".join(texts))
    if unknown:
        return Check(name, "warning", f"not recorded in {_listed(unknown)}; equal in the others")
    only = next(iter(groups[0]), "")
    text = f"the same in all runs of each of {len(groups)} tasks" if per_task else str(only)
    return Check(name, "ok", text)


def _minorities(groups: Mapping[str, Sequence[str]]) -> str:
    """Says which runs have what, the commonest value last and without names."""
    most = max(groups, key=lambda value: (len(set(groups[value])), value))
    texts = [
        f"{value} in {_listed(list(dict.fromkeys(names)))}"
        for value, names in sorted(groups.items())
        if value != most
    ]
    return f"{'; '.join(texts)}, {most} in {len(set(groups[most]))} others"
