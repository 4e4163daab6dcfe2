"""Checks of what the protocol makes equal: budgets, rules, and how runs were evaluated."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from reports.analysis.budgets import in_state, stopped_runs
from reports.audit.check import Check, agreement, from_findings, groups_of
from reports.runs.names import listed
from reports.runs.results import Results, Run, run_name
from suite.common.errors import UserError
from suite.common.formatting import plain
from suite.configuration.protocol import Protocol
from suite.storage.origin import same_starts

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


def equal_steps(results: Results) -> Check:
    """Every run took the budget, to the step, but for those that diverged before its end.

    What is unfinished has taken another number of steps, and what a damaged run has taken is
    not known: neither makes a comparison unfair by itself, but nobody may call them equal.
    """
    name, budget, done = "equal steps", results.budget, in_state(results, "done")
    # A list: in two directories, or two settings, runs have one name.
    taken = [(run_name(run), run.status.ledger.env_steps) for run in done if run.status]
    wrong = [
        f"{name} took {steps:,} ({100 * (steps - budget) / budget:+.2g}%)"
        for name, steps in taken
        if steps != budget
    ]
    if wrong:
        text = f"the budget is {budget:,} environment steps, but {listed(wrong, '; ')}"
        return Check(name, "failed", text)
    stopped = stopped_runs(results, "diverged", "running", "damaged")
    if not taken:
        text = ", ".join(["no run is finished, so none can be judged", *stopped])
        return Check(name, "warning", text)
    text = f"{budget:,} environment steps in each of {len(taken)} finished runs, by their ledgers"
    unknown = stopped_runs(results, "running", "damaged")
    if unknown:
        return Check(name, "warning", f"{text}; not judged: {', '.join(unknown)}")
    return Check(name, "ok", "; ".join([text, *stopped]))


def one_protocol(results: Results) -> Check:
    """All run directories say that they followed one protocol."""
    text = f"one protocol, {results.protocol.name}, fingerprint {results.protocol.fingerprint()}"
    return from_findings(results, "protocol", {"protocol": "failed"}, text)


def protocol_rules(results: Results, varied: Collection[str]) -> Iterator[Check]:
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
        if (text := _differing_methods(results, stored, field) or differing[field])
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


def _differing_methods(
    results: Results, stored: Mapping[str, Mapping[str, Any]], field: str
) -> str:
    """Says of which methods runs have other entries than protocol.json; "" if it has none."""
    first = results.protocol.effective()[field]

    def methods(run: Run) -> str:
        other = stored[run.run_id].get(field, first)
        if not isinstance(first, Mapping) or not isinstance(other, Mapping):
            return ""
        return ", ".join(sorted(n for n in {**first, **other} if first.get(n) != other.get(n)))

    groups = groups_of(results.runs, methods)
    texts = [f"{each} in {listed(runs)}" for each, runs in sorted(groups.items(), key=str) if each]
    return f"other than in protocol.json for {'; '.join(texts)}" if texts else ""


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def episodes(results: Results) -> Check:
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


def evaluation_starts(results: Results) -> Check:
    """All runs on a task were evaluated from the same start states."""
    name = "evaluation starts"
    bits = agreement(name, results, _start_bits, "failed", per_task=True)
    if not all(_same_on(results, task) for task in results.tasks):
        if bits.verdict == "failed":
            return bits
        # Equal digests of unequal numbers: a record was edited.
        return agreement(name, results, _start_record, "failed", per_task=True)
    if bits.verdict != "failed":
        return bits
    text = f"the same but for the rounding of different processors: {bits.text}"
    return Check(name, "warning", text)


def _same_on(results: Results, task: str) -> bool:
    """Returns whether any two runs on a task may have had the same start states."""
    runs = [run for run in results.runs if run.task == task]
    different = {_start_record(run): _starts(run) for run in runs}
    return all(same_starts(*pair) for pair in itertools.combinations(different.values(), 2))


def _starts(run: Run) -> Mapping[str, object] | None:
    return run.configuration.eval_starts if run.configuration else None


def _start_bits(run: Run) -> str | None:
    starts = _starts(run)
    return str(starts.get("sha256")) if starts else None


def _start_record(run: Run) -> str | None:
    starts = _starts(run)
    return _canonical(starts) if starts else None
