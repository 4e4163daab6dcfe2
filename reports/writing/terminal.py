"""What a comparison of stored runs prints on a terminal."""

from __future__ import annotations

import dataclasses

from reports.tables.arms import ablation_tables
from reports.tables.judgement import judgement_table
from reports.tables.references import reference_tables
from reports.tables.runs import failures
from reports.tables.scores import aggregates, final_returns, pairwise
from reports.tables.table import to_text
from reports.writing.report_request import ReportRequest, Subject


def summary(subject: Subject) -> str:
    """Returns whether the runs may be compared and the answer, in two lines.

    A line on each new method follows, if they are judged, and of an ablation the table of results.
    """
    verdict = subject.verdict
    lines = "\n".join([f"{verdict.word} {verdict.text}", *subject.answers])
    if subject.arms is None:
        return lines
    return f"{lines}\n\n{to_text(ablation_tables(subject.arms)[0])}".rstrip()


def comparison_text(request: ReportRequest, subject: Subject | None = None) -> str:
    """Returns the comparison for a terminal: summary, final returns, verdicts, pairs, findings.

    Args:
        request: what to compare.
        subject: what the request has loaded, if it has.

    Raises:
        UserError: as `write_report`.
    """
    subject = subject or request.load()
    analysis = subject.analysis
    references = request.load_references(analysis.results)
    if subject.arms and subject.arms.ablation.axes:
        return f"{summary(subject)}\n\n{to_text(failures(analysis))}".rstrip()
    tables = [
        final_returns(analysis, references),
        *reference_tables(analysis.results, references),
        aggregates(analysis),
        *([judgement_table(subject.judgement)] if subject.judgement else []),
        pairwise(analysis),
        failures(analysis),
    ]
    shown = [to_text(table) for table in tables if table.rows]
    return "\n".join([summary(dataclasses.replace(subject, arms=None)), "", *shown]).rstrip()
