"""Figures of `suite actions`: densities of stored policies' actions."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from reports.analysis.action_findings import (
    SIDE_WORDS,
    SIDES,
    ActionFinding,
    Side,
    samples_each,
)
from reports.analysis.action_shape import WIDE_BANDWIDTH, Curve, scott_bandwidth
from reports.figures.drawing import (
    FULL_WIDTH,
    Figure,
    draw_legend,
    draw_line,
    make_canvas,
)
from reports.figures.palette import algorithm_styles
from reports.runs.names import algorithm_order
from suite.storage.action_samples import ActionSamples

_VISIBLE = 0.002
"""Share of its maximum below which a density is not drawn."""


def action_figures(samples: ActionSamples, findings: Sequence[ActionFinding]) -> list[Figure]:
    """Returns densities along the joint component, for both sides and both bandwidths."""
    scott = scott_bandwidth(samples_each(samples))
    bandwidths = {"scott": f"Scott's, {scott:.3f}", "wide": f"the paper's, {WIDE_BANDWIDTH:g}"}
    return [
        _densities(samples, [each for each in findings if each.side == side], side, name, text)
        for side in SIDES
        for name, text in bandwidths.items()
    ]


def _densities(
    samples: ActionSamples, findings: Sequence[ActionFinding], side: Side, name: str, bandwidth: str
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
        f"Actions {SIDE_WORDS[side]} on {samples.task}, {samples_each(samples):,} of each policy "
        "in each state, along the first principal component of all policies' actions in that "
        f"state: Gaussian kernel densities, bandwidth {bandwidth} times the standard deviation, "
        "each divided by its maximum. One line a seed."
    )
    title = f"Actions {SIDE_WORDS[side]}, bandwidth {bandwidth}"
    return Figure(f"actions-{side}-{name}", title, caption, draw)
