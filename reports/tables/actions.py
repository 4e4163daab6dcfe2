"""Tables of `suite actions`: what stored policies' actions look like, and in which states."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from reports.analysis.action_findings import (
    SIDE_WORDS,
    SIDES,
    ActionFinding,
    Side,
    samples_each,
)
from reports.analysis.action_shape import WIDE_BANDWIDTH, Shape
from reports.runs.names import algorithm_order, display_name
from reports.tables.table import Entry, Table, number
from suite.common.claim_floor import LEVEL
from suite.storage.action_samples import ActionSamples


def action_tables(samples: ActionSamples, findings: Sequence[ActionFinding]) -> list[Table]:
    """Returns the summary, every finding, every dimension of it, and the states."""
    return [
        _summary(samples, findings),
        _components(samples, findings),
        _dimensions(samples, findings),
        _states(samples),
    ]


def _summary(samples: ActionSamples, findings: Sequence[ActionFinding]) -> Table:
    groups: dict[tuple[str, int, Side], list[ActionFinding]] = {}
    for each in findings:
        key = (each.policy.cell.algorithm, each.policy.env_steps, each.side)
        groups.setdefault(key, []).append(each)
    ordered = sorted(groups, key=lambda key: (SIDES.index(key[2]), algorithm_order(key[0]), key))
    rows = tuple(_summary_row(key, groups[key]) for key in ordered)
    columns = (
        "Algorithm",
        "Environment steps",
        "Actions",
        "n",
        "Std",
        "Skewness",
        "Excess kurtosis",
        "Correlation",
        "Not Gaussian",
        "Multimodal: joint component",
        "Multimodal: own component",
        "Multimodal: a dimension",
        f"Peaks at {WIDE_BANDWIDTH:g}",
        "Peaks at Scott's",
    )
    note = (
        f"n: pairs of a policy and one of {len(samples.states)} states, {samples_each(samples):,} "
        "actions each. Std: mean over dimensions. Skewness, excess kurtosis and correlation: of "
        "the dimensions where they are farthest from 0, which is an independent Gaussian's; "
        "skewness and correlation without their sign. All four: median over the n. "
        f"{_test_note()} Peaks: of the density along the joint component, most over the n."
    )
    return Table("actions-summary", f"Action distributions on {samples.task}", columns, rows, note)


def _summary_row(key: tuple[str, int, Side], group: Sequence[ActionFinding]) -> tuple[Entry, ...]:
    algorithm, env_steps, side = key
    shapes = [each.shape for each in group]
    tested = [each for each in group if not math.isnan(each.gaussian_p)]
    return (
        Entry(display_name(algorithm)),
        number(env_steps, 0),
        Entry(SIDE_WORDS[side]),
        number(len(group), 0),
        number(float(np.median([shape.std.mean() for shape in shapes])), 3),
        number(float(np.median([np.abs(shape.skewness).max() for shape in shapes])), 2),
        number(float(np.median([_largest(shape.kurtosis) for shape in shapes])), 2),
        number(float(np.median([shape.correlation for shape in shapes])), 2),
        _count(tested, lambda each: each.gaussian_p < LEVEL),
        _count(group, lambda each: each.joint.dip_p < LEVEL),
        _count(group, lambda each: each.own.dip_p < LEVEL),
        _count(group, lambda each: each.multimodal_dimensions > 0),
        number(max(each.joint.wide.peaks for each in group), 0),
        number(max(each.joint.scott.peaks for each in group), 0),
    )


def _components(samples: ActionSamples, findings: Sequence[ActionFinding]) -> Table:
    rows = tuple(
        (
            *_place(each),
            *(number(float(value), 3) for value in (each.shape.std.mean(), each.joint.share)),
            number(each.gaussian_p, 3),
            number(each.joint.dip, 5),
            number(each.joint.dip_p, 3),
            number(each.own.dip, 5),
            number(each.own.dip_p, 3),
            number(each.multimodal_dimensions, 0),
            number(each.joint.wide.peaks, 0),
            number(each.joint.scott.peaks, 0),
        )
        for each in findings
    )
    columns = (
        *_PLACE,
        "Std",
        "Share on joint component",
        "p Gaussian",
        "Dip: joint component",
        "p dip: joint",
        "Dip: own component",
        "p dip: own",
        "Multimodal dimensions",
        f"Peaks at {WIDE_BANDWIDTH:g}",
        "Peaks at Scott's",
    )
    note = f"{samples_each(samples):,} actions each. {_test_note()}"
    title = f"Action distributions on {samples.task}, every policy and state"
    return Table("actions", title, columns, rows, note)


def _dimensions(samples: ActionSamples, findings: Sequence[ActionFinding]) -> Table:
    rows = tuple(
        (
            *_place(each),
            number(dimension, 0),
            *(number(float(values[dimension]), 3) for values in _moments(each.shape)),
            number(float(each.shape.dips[dimension]), 5),
            number(float(each.shape.dip_p[dimension]), 3),
            number(float(each.shape.adjusted_dip_p[dimension]), 3),
        )
        for each in findings
        for dimension in range(each.shape.mean.size)
    )
    columns = (
        *_PLACE,
        "Dimension",
        "Mean",
        "Std",
        "Skewness",
        "Excess kurtosis",
        "Dip",
        "p dip",
        "p dip, Holm",
    )
    title = f"Action distributions on {samples.task}, every dimension"
    return Table("actions-dimensions", title, columns, rows, _test_note())


def _states(samples: ActionSamples) -> Table:
    rows = tuple(
        (
            number(index, 0),
            Entry(display_name(state.cell.algorithm)),
            number(state.cell.seed, 0),
            number(state.episode, 0),
            number(state.step, 0),
            Entry("played again" if state.replayed else "kept with the run"),
        )
        for index, state in enumerate(samples.states)
    )
    columns = ("State", "From the evaluation of", "Seed", "Episode", "Step", "Source")
    note = (
        "Observations of noise-free evaluation episodes of the selected runs, drawn with seed "
        f"{samples.seed}; all policies act in the same. {' '.join(samples.notes)}"
    ).strip()
    return Table("actions-states", f"States on {samples.task}", columns, rows, note)


_PLACE = ("Algorithm", "Seed", "Environment steps", "State", "Actions")


def _place(finding: ActionFinding) -> tuple[Entry, ...]:
    return (
        Entry(display_name(finding.policy.cell.algorithm)),
        number(finding.policy.cell.seed, 0),
        number(finding.policy.env_steps, 0),
        number(finding.state, 0),
        Entry(SIDE_WORDS[finding.side]),
    )


def _moments(shape: Shape) -> tuple[np.ndarray, ...]:
    return shape.mean, shape.std, shape.skewness, shape.kurtosis


def _largest(values: np.ndarray) -> float:
    """Returns the value farthest from 0, with its sign."""
    return float(values[np.argmax(np.abs(values))])


def _count(group: Sequence[ActionFinding], holds: Callable[[ActionFinding], bool]) -> Entry:
    count = sum(map(holds, group))
    return Entry(f"{count} of {len(group)}", count / len(group) if group else None)


def _test_note() -> str:
    return (
        "Gaussian: Mardia's test in all dimensions, Holm-corrected over policies and states. "
        "Multimodal: Hartigan's dip test along the first principal component of all policies' "
        "actions in the state (joint) or of this policy's (own), and in each dimension, "
        f"Holm-corrected over dimensions; all at {LEVEL:.0%}, no dip's p below .001. A Gaussian "
        "of mean 0 and std above .71 has two modes after tanh, at the bounds: only modes before "
        "squashing are the policy's own. A pair with a constant dimension, as there may be at the "
        "bounds, cannot be tested for being Gaussian and does not count."
    )
