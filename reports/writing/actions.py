"""`suite actions`: what stored policies' actions look like, in tables and figures.

Shapes: K states, N samples, A action size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from reports.analysis.action_shape import (
    WIDE_BANDWIDTH,
    Component,
    Curve,
    Shape,
    describe,
    describe_along,
    first_component,
    scott_bandwidth,
)
from reports.analysis.bootstrap import holm
from reports.figures.drawing import (
    FORMATS,
    FULL_WIDTH,
    Figure,
    draw_legend,
    draw_line,
    make_canvas,
    render,
)
from reports.figures.palette import algorithm_styles
from reports.runs.names import algorithm_order, display_name
from reports.tables.all_tables import write_tables
from reports.tables.table import Entry, Table, number
from suite.storage.action_samples import ActionSamples, PolicyActions
from suite.storage.files import atomic_write, make_directory

Side = Literal["before", "after"]
SIDES: tuple[Side, ...] = get_args(Side)
LEVEL = 0.05
"""Family-wise, of every test."""

_SIDE_WORDS = {"before": "before squashing", "after": "after squashing"}

_VISIBLE = 0.002
"""Share of its maximum below which a density is not drawn."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one policy does in one state.

    Attributes:
        policy: which.
        state: its index.
        side: before the squash, or after it.
        shape: in all dimensions.
        joint: along the first principal component of all policies' actions in that state.
        own: along the first principal component of this policy's.
        gaussian_p: of `shape`, Holm-corrected over all findings of the side.
    """

    policy: PolicyActions
    state: int
    side: Side
    shape: Shape
    joint: Component
    own: Component
    gaussian_p: float

    @property
    def multimodal_dimensions(self) -> int:
        """Action dimensions whose dip is significant, Holm-corrected within the finding."""
        return int(np.sum(self.shape.adjusted_dip_p < LEVEL))


def analyse(samples: ActionSamples) -> list[Finding]:
    """Returns a finding for each side, state and policy."""
    findings: list[Finding] = []
    for side in SIDES:
        found = [
            finding
            for state in range(len(samples.states))
            for finding in _analyse_state(samples.policies, state, side)
        ]
        known = [each for each in found if not math.isnan(each.gaussian_p)]
        adjusted = iter(holm([each.gaussian_p for each in known]))
        findings += [
            each
            if math.isnan(each.gaussian_p)
            else dataclasses.replace(each, gaussian_p=next(adjusted))
            for each in found
        ]
    return findings


def _analyse_state(policies: Sequence[PolicyActions], state: int, side: Side) -> Iterator[Finding]:
    clouds = [np.asarray(getattr(policy, side)[state], np.float64) for policy in policies]
    joint = first_component(np.concatenate(clouds))
    for policy, cloud in zip(policies, clouds, strict=True):
        shape = describe(cloud)
        yield Finding(
            policy=policy,
            state=state,
            side=side,
            shape=shape,
            joint=describe_along(cloud, *joint),
            own=describe_along(cloud, *first_component(cloud)),
            gaussian_p=shape.gaussian_p,
        )


def write_actions(samples: ActionSamples, out: Path) -> tuple[list[Path], list[Table]]:
    """Writes tables and figures; the same samples give the same bytes.

    Args:
        samples: what the policies did.
        out: directory of `tables` and `figures`; made if missing.

    Returns:
        The files, and the tables as data: the summary, all findings, all dimensions, the states.

    Raises:
        OSError: a file cannot be written.
    """
    findings = analyse(samples)
    tables = make_tables(samples, findings)
    files = write_tables(tables, out / "tables")
    make_directory(out / "figures")
    for figure in make_figures(samples, findings):
        for ending, content in render(figure, FORMATS).items():
            files.append(out / "figures" / f"{figure.name}.{ending}")
            atomic_write(files[-1], content)
    return files, tables


# --- Tables ------------------------------------------------------------------------------


def make_tables(samples: ActionSamples, findings: Sequence[Finding]) -> list[Table]:
    """Returns the summary, every finding, every dimension of it, and the states."""
    return [
        _summary(samples, findings),
        _components(samples, findings),
        _dimensions(samples, findings),
        _states(samples),
    ]


def _summary(samples: ActionSamples, findings: Sequence[Finding]) -> Table:
    groups: dict[tuple[str, int, Side], list[Finding]] = {}
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
        f"n: pairs of a policy and one of {len(samples.states)} states, {_size(samples):,} actions"
        " each. Std: mean over dimensions. Skewness, excess kurtosis and correlation: of the "
        "dimensions where they are farthest from 0, which is an independent Gaussian's; skewness "
        "and correlation without their sign. All four: median over the n. "
        f"{_test_note()} Peaks: of the density along the joint component, most over the n."
    )
    return Table("actions-summary", f"Action distributions on {samples.task}", columns, rows, note)


def _summary_row(key: tuple[str, int, Side], group: Sequence[Finding]) -> tuple[Entry, ...]:
    algorithm, env_steps, side = key
    shapes = [each.shape for each in group]
    tested = [each for each in group if not math.isnan(each.gaussian_p)]
    return (
        Entry(display_name(algorithm)),
        number(env_steps, 0),
        Entry(_SIDE_WORDS[side]),
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


def _components(samples: ActionSamples, findings: Sequence[Finding]) -> Table:
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
    note = f"{_size(samples):,} actions each. {_test_note()}"
    title = f"Action distributions on {samples.task}, every policy and state"
    return Table("actions", title, columns, rows, note)


def _dimensions(samples: ActionSamples, findings: Sequence[Finding]) -> Table:
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


def _place(finding: Finding) -> tuple[Entry, ...]:
    return (
        Entry(display_name(finding.policy.cell.algorithm)),
        number(finding.policy.cell.seed, 0),
        number(finding.policy.env_steps, 0),
        number(finding.state, 0),
        Entry(_SIDE_WORDS[finding.side]),
    )


def _moments(shape: Shape) -> tuple[np.ndarray, ...]:
    return shape.mean, shape.std, shape.skewness, shape.kurtosis


def _largest(values: np.ndarray) -> float:
    """Returns the value farthest from 0, with its sign."""
    return float(values[np.argmax(np.abs(values))])


def _count(group: Sequence[Finding], holds: Callable[[Finding], bool]) -> Entry:
    count = sum(map(holds, group))
    return Entry(f"{count} of {len(group)}", count / len(group) if group else None)


def _size(samples: ActionSamples) -> int:
    return int(samples.policies[0].before.shape[1])


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


# --- Figures -----------------------------------------------------------------------------


def make_figures(samples: ActionSamples, findings: Sequence[Finding]) -> list[Figure]:
    """Returns densities along the joint component, for both sides and both bandwidths."""
    scott = scott_bandwidth(_size(samples))
    bandwidths = {"scott": f"Scott's, {scott:.3f}", "wide": f"the paper's, {WIDE_BANDWIDTH:g}"}
    return [
        _figure(samples, [each for each in findings if each.side == side], side, name, text)
        for side in SIDES
        for name, text in bandwidths.items()
    ]


def _figure(
    samples: ActionSamples, findings: Sequence[Finding], side: Side, name: str, bandwidth: str
) -> Figure:
    steps = sorted({each.policy.env_steps for each in findings})
    names = sorted({each.policy.cell.algorithm for each in findings}, key=algorithm_order)
    styles = algorithm_styles(names)

    def draw() -> Canvas:
        rows = len(samples.states)
        canvas, panels = make_canvas(FULL_WIDTH, 1.25 * rows + 0.7, rows, len(steps), sharey=True)
        for each in findings:
            axes = panels[each.state * len(steps) + steps.index(each.policy.env_steps)]
            curve: Curve = getattr(each.joint, name)
            height = curve.density / curve.density.max()
            seen = height >= _VISIBLE
            style = styles[each.policy.cell.algorithm]
            draw_line(axes, curve.x[seen], height[seen], style, linewidth=1.0)
        for index, axes in enumerate(panels):
            state, column = divmod(index, len(steps))
            axes.set_ylim(0, 1.05)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            if state == 0:
                axes.set_title(f"{steps[column]:,} steps")
            if column == 0:
                axes.set_ylabel(f"state {state}")
        canvas.supxlabel("first principal component of all policies' actions", fontsize=7.5)
        draw_legend(canvas, styles)
        return canvas

    caption = (
        f"Actions {_SIDE_WORDS[side]} on {samples.task}, {_size(samples):,} of each policy in each"
        " state, along the first principal component of all policies' actions in that state: "
        f"Gaussian kernel densities, bandwidth {bandwidth} times the standard deviation, each "
        "divided by its maximum. One line a seed."
    )
    title = f"Actions {_SIDE_WORDS[side]}, bandwidth {bandwidth}"
    return Figure(f"actions-{side}-{name}", title, caption, draw)
