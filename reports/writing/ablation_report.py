"""What the report of an ablation consists of, beside that of a comparison."""

from __future__ import annotations

from typing import Any

from reports.analysis.arms import Arms
from reports.analysis.sentences import arms_headline, scope
from reports.figures.all_figures import make_figures
from reports.figures.arms import ablation_curves
from reports.figures.drawing import Figure
from reports.page.page import stamp
from reports.tables.all_tables import build_tables
from reports.tables.arms import ablation_tables
from reports.tables.runs import cost, failures, hyperparameters, ledger, machines, runs
from reports.tables.table import Table, to_text


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


def page_words(arms: Arms) -> dict[str, Any]:
    """Returns what the page says of an ablation in place of a comparison's words."""
    varied = arms.ablation.varied_protocol_fields
    return {"headline": arms_headline(arms), "scope": scope(arms.ablation), "varied": varied}


def ablation_summary(arms: Arms) -> str:
    """Returns whether the runs may be compared, what stands out, and the table of results."""
    ablation = arms.ablation
    analysis, varied = arms.analysis, ablation.varied_protocol_fields
    verdict = stamp(analysis.results, scope(ablation), varied, analysis.policy)
    table = to_text(ablation_tables(arms)[0])
    return f"{verdict.word} {verdict.text}\n{arms_headline(arms)}\n\n{table}".rstrip()
