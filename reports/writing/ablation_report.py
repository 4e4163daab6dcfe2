"""What the report of an ablation consists of, beside that of a comparison."""

from __future__ import annotations

from reports.analysis.arms import Arms
from reports.figures.all_figures import make_figures
from reports.figures.arms import ablation_curves
from reports.figures.drawing import Figure
from reports.tables.all_tables import build_tables
from reports.tables.arms import ablation_tables
from reports.tables.runs import (
    cost,
    failures,
    hyperparameters,
    ledger,
    machines,
    runs,
)
from reports.tables.table import Table


def every_table(arms: Arms) -> list[Table]:
    """Returns the ablation's tables, then those of its runs; of a single arm all that a
    comparison has.
    """
    own = ablation_tables(arms)
    if not arms.ablation.axes:
        return own + build_tables(arms.analysis)
    results = arms.analysis.results
    more = [
        failures(arms.analysis),
        ledger(results),
        cost(results),
        hyperparameters(results),
        machines(results),
        runs(arms.analysis),
    ]
    return own + [table for table in more if table.rows]


def every_figure(arms: Arms) -> list[Figure]:
    """Returns the learning curves by arm; of a single arm all that a comparison has."""
    return [ablation_curves(arms)] if arms.ablation.axes else make_figures(arms.analysis)
