"""Every table of a report; a table whose runs are not there is left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from reports.analysis.comparison import Analysis
from reports.judgement.verdicts import Judgement
from reports.references.published import Reference
from reports.tables.deviations import deviations
from reports.tables.judgement import judgement_table
from reports.tables.references import reference_tables
from reports.tables.runs import (
    comparability,
    cost,
    failures,
    hyperparameters,
    ledger,
    machines,
    runs,
)
from reports.tables.scores import (
    aggregates,
    final_returns,
    leave_one_task_out,
    pairwise,
    reductions,
    task_intervals,
    times_to_threshold,
)
from reports.tables.table import FORMATS, Table
from reports.tables.variants import (
    KL_FIELDS,
    NORMALIZER_FIELDS,
    STAGE_FIELDS,
    ablation,
    controls,
    other_variants,
    stages,
)
from suite.common.files import atomic_write, make_directory


def build_tables(
    analysis: Analysis,
    references: Sequence[Reference] = (),
    judgement: Judgement | None = None,
) -> list[Table]:
    """Returns every table that there are runs for, in the order of a report."""
    tables = [
        comparability(analysis),
        final_returns(analysis, references),
        *reference_tables(analysis.results, references),
        task_intervals(analysis),
        aggregates(analysis),
        *([judgement_table(judgement)] if judgement else []),
        pairwise(analysis),
        leave_one_task_out(analysis),
        reductions(analysis),
        times_to_threshold(analysis),
        ablation(analysis, "ablation_kl", "KL ablation", KL_FIELDS),
        ablation(analysis, "ablation_decoder_stages", "Decoder-stage ablation", STAGE_FIELDS),
        ablation(analysis, "ablation_normalizer", "Normalizer ablation", NORMALIZER_FIELDS),
        other_variants(analysis),
        controls(analysis),
        stages(analysis),
        ledger(analysis.results),
        cost(analysis.results),
        failures(analysis),
        deviations(analysis.results),
        hyperparameters(analysis.results),
        machines(analysis.results),
        runs(analysis),
    ]
    return [table for table in tables if table.rows]


def write_tables(tables: Iterable[Table], directory: Path) -> list[Path]:
    """Writes every table in every format of `markup.FORMATS`; returns the files.

    Raises:
        OSError: a file cannot be written.
    """
    make_directory(directory)
    files = []
    for table in tables:
        for ending, render in FORMATS.items():
            path = directory / f"{table.name}.{ending}"
            atomic_write(path, render(table).encode(errors="backslashreplace"))
            files.append(path)
    return files
