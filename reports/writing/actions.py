"""`suite actions`: what stored policies' actions look like, in files of tables and figures."""

from __future__ import annotations

from pathlib import Path

from reports.analysis.action_findings import action_findings
from reports.figures.actions import action_figures
from reports.figures.drawing import FORMATS, render
from reports.tables.actions import action_tables
from reports.tables.all_tables import write_tables
from reports.tables.table import Table
from suite.common.files import atomic_write, make_directory
from suite.storage.action_samples import ActionSamples


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
    findings = action_findings(samples)
    tables = action_tables(samples, findings)
    files = write_tables(tables, out / "tables")
    make_directory(out / "figures")
    for figure in action_figures(samples, findings):
        for ending, content in render(figure, FORMATS).items():
            files.append(out / "figures" / f"{figure.name}.{ending}")
            atomic_write(files[-1], content)
    return files, tables
