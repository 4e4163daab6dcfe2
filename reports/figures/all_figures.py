"""Every figure of a report; a figure whose runs are not there is left out."""

from __future__ import annotations

from collections.abc import Sequence

from reports.analysis.comparison import Analysis
from reports.figures.cost import sample_efficiency, trade_off
from reports.figures.drawing import Figure
from reports.figures.final_scores import aggregates, final_returns, profiles, settings_figures
from reports.figures.learning_curves import learning_curves, seed_curves, whole_references
from reports.figures.pairs import pair_figures
from reports.figures.references import reference_styles
from reports.references.published import Reference


def make_figures(analysis: Analysis, references: Sequence[Reference] = ()) -> list[Figure]:
    """Returns every figure that there are runs for, in the order of the report."""
    figures = [learning_curves(analysis, references), seed_curves(analysis, references)]
    if reference_styles(analysis.results, references):
        figures.append(whole_references(analysis, references))
    figures.append(final_returns(analysis))
    if analysis.algorithms:
        figures += [aggregates(analysis), profiles(analysis)]
        figures += [sample_efficiency(analysis), trade_off(analysis)]
    if analysis.differences.pairs:
        figures += pair_figures(analysis)
    return figures + settings_figures(analysis)
