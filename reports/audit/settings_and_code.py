"""Checks of what each method was: its code, its settings, its size, and how it was tuned."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from reports.audit.check import Check, Word, agreement, from_findings, minorities, of_starts
from reports.runs.names import display_name, listed
from reports.runs.results import FindingKind, Results, Run, run_name
from suite.common.formatting import plain


def code_version(results: Results) -> Check:
    """Each method was one program in all of its runs; commits may differ."""

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


def package_versions(results: Results) -> Check:
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


def reward_scale(results: Results) -> Check:
    """Shows what each algorithm multiplies rewards by, which is its own to choose."""

    def scale(run: Run) -> str | None:
        settings = run.configuration.hyperparameters if run.configuration else {}
        return plain(settings["reward_scale"]) if "reward_scale" in settings else None

    return agreement("reward scale", results, scale, "warning")


def hyperparameters(results: Results) -> Check:
    """Each algorithm ran in one setting, and in the one that protocol and command say."""
    text = "one set of hyper-parameters for each algorithm"
    verdicts: Mapping[FindingKind, Word] = {"unexplained": "failed", "variant": "warning"}
    return from_findings(results, "hyper-parameters", verdicts, text)


def parameter_counts(results: Results) -> Check:
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


def tuning_effort(results: Results) -> Check:
    """Compares what each algorithm's values were chosen by, and from how many configurations."""
    name, bases = "tuning effort", dict.fromkeys(label.method for label in results.algorithms)
    tuning = {base: effort for base in bases if (effort := _effort(results, base))}
    if not tuning:
        return Check(name, "not recorded", "the protocol does not tell how values were found")
    unknown = [base for base in bases if base not in tuning]
    equal = not unknown and len(set(map(plain, tuning.values()))) == 1
    texts = [f"{display_name(base)}: {_told(effort)}" for base, effort in tuning.items()]
    if equal and all("tuner" in effort for effort in tuning.values()):
        texts = [f"equal for all {len(bases)} methods: {_told(next(iter(tuning.values())))}"]
    if unknown:
        texts.append(f"not recorded for {', '.join(map(display_name, unknown))}")
    if both := _tuned_and_judged(results, tuning):
        texts.append(f"found on tasks that are compared here: {', '.join(both)}")
    return Check(name, "ok" if equal and not both else "warning", "; ".join(texts))


def _effort(results: Results, base: str) -> dict[str, object]:
    """Returns what was spent on a method, by its own runs' protocol where the common tells not.

    What only says which search it was, of two that were alike, is left out.
    """
    runs = [run.configuration for run in results.runs if run.configuration]
    tables = [each.protocol.get("tuning") for each in runs if each.algorithm == base]
    for table in (results.protocol.tuning, *tables):
        found = table.get(base) if isinstance(table, Mapping) else None
        if isinstance(found, Mapping) and found:
            return {key: value for key, value in found.items() if key != "digest"}
    return {}


def _told(effort: Mapping[str, object]) -> str:
    return plain(effort) if effort.get("configurations") != 0 else "none"


def _tuned_and_judged(results: Results, tuning: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Returns the tasks of a comparison that values were found on, as far as it is recorded."""
    named = {task for each in tuning.values() for task in str(each.get("tasks", "")).split(",")}
    return [task for task in results.tasks if task in named]
