"""Whether a report holds what the runs hold: it is made again and compared, byte for byte.

Its intervals, which that makes as they were, are computed by another library too.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reports.analysis.scores import ScorePolicy
from reports.audit.check import Check
from reports.audit.recomputed import Stamp
from reports.audit.rliable_intervals import check_intervals
from reports.judgement.margins import Judging
from reports.references.cards import REFERENCES
from reports.references.published import split_references
from reports.runs.choice import Choice
from reports.runs.names import listed
from reports.writing.report import write_loaded
from reports.writing.report_folder import (
    MAX_FILE,
    MAX_REQUEST,
    REQUEST,
    UNFINISHED,
    present_files,
)
from reports.writing.report_request import PARTS, Part, ReportRequest
from suite.common.convert import convert, field_types
from suite.common.errors import UserError
from suite.common.files import read_object
from suite.common.reading import read_bounded

NAME = "report"
STAMP = "report's stamp"


def verify_report(
    report: Path, run_dirs: Sequence[Path], reference: str = "", recomputed: bool = False
) -> tuple[Check, ...]:
    """Makes a report again, compares every file of it, and computes its intervals another way.

    Args:
        report: the directory that `suite report` wrote.
        run_dirs: the run directories that it was made from, in the same order.
        reference: published results, if the report was made with files of one's own: all, or
            those files.
        recomputed: whether numbers of the runs were made again beside.

    Returns:
        A check that fails if a file differs, is missing, or is not one of a report's; where the
        report can be made again, one of its intervals; and a warning if it says that numbers were
        made again, which were not now.

    Raises:
        UserError: there is no report, or it does not tell what was asked for.
        OSError: a file cannot be read, or the report cannot be made again.
    """
    asked = _read_request(report / REQUEST)
    try:
        request, parts = _request(asked, run_dirs, reference)
    except (KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{report / REQUEST} is damaged ({error}); make the report again") from None
    _check_given(report, request.reference, reference)
    if UNFINISHED in asked:
        return (Check(NAME, "failed", "writing it was cut off; make the report again"),)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            subject = request.load()
            write_loaded(request, subject, Path(scratch), parts)
        except UserError as error:
            return (Check(NAME, "failed", f"it cannot be made from these runs: {error}"),)
        same = _compare(report, Path(scratch))
    intervals = check_intervals(subject.analyses, subject.arms)
    if request.stamp is None or recomputed:
        return same, intervals
    text = "its maker says that numbers were recomputed, which --recompute would check"
    return same, intervals, Check(STAMP, "warning", text)


def _read_request(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UserError(f"{path} is missing; make the report again with `suite report`")
    return read_object(path, MAX_REQUEST, "make the report again")


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A report's own account of what was asked for; an older version knew no choice."""

    mode: str
    diverged: Literal["zero", "last", "exclude"]
    incomplete: Literal["zero", "last", "exclude"]
    reference: str
    repetitions: int
    seed: int
    parts: list[str]
    tasks: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    common_tasks: bool = False
    new: tuple[str, ...] | None = None
    margin: float = 0.0
    stamp: Stamp | None = None


def _request(
    plain: Mapping[str, Any], run_dirs: Sequence[Path], reference: str
) -> tuple[ReportRequest, list[Part]]:
    asked = convert(_Asked, {name: plain[name] for name in field_types(_Asked) if name in plain})
    if "/" in asked.reference:
        raise ValueError("reference must be a name")
    request = ReportRequest(
        tuple(run_dirs),
        mode=asked.mode,
        policy=ScorePolicy(asked.diverged, asked.incomplete),
        reference=_references(asked.reference, reference),
        repetitions=asked.repetitions,
        seed=asked.seed,
        choice=Choice(asked.tasks, asked.algorithms, asked.common_tasks),
        judging=None if asked.new is None else Judging(asked.new, asked.margin),
        stamp=asked.stamp,
    )
    return request, [part for part in PARTS if part in asked.parts]


def _references(asked: str, given: str) -> str:
    """Returns what to show: what was asked for, with the paths of those files that are given."""
    if not given or Path(given).name == asked:
        return given or asked
    paths = {Path(each).name: each for each in split_references(given)}
    names = asked.split(",")
    if len(names) == 1:
        return given
    return ",".join(paths.get(name, name) for name in names)


def _check_given(report: Path, shown: str, given: str) -> None:
    """Checks that a report shows no file but those that are given.

    Its request may be a stranger's, who could name any file of this machine.

    Raises:
        UserError: it names another; says how to give it.
    """
    if shown == given:
        return
    known = {*REFERENCES, *split_references(given)}
    for name in filter(None, shown.split(",")):
        if name not in known:
            raise UserError(f"{report} shows {name}, a file of one's own; give it by --reference")


def _compare(report: Path, again: Path) -> Check:
    theirs, ours = present_files(report), present_files(again)
    wrong = [f"{name} is missing" for name in sorted(ours.keys() - theirs.keys())]
    wrong += [f"{name} is no part of it" for name in sorted(theirs.keys() - ours.keys())]
    for name in sorted(theirs.keys() & ours.keys()):
        if difference := _difference(name, theirs[name], ours[name]):
            wrong.append(difference)
    if wrong:
        return Check(NAME, "failed", listed(wrong, "; "))
    return Check(NAME, "ok", f"all {len(ours)} files were made again, byte for byte")


def _difference(name: str, theirs: Path, ours: Path) -> str:
    """Says where two files differ first, nothing if they are the same."""
    try:
        mine, yours = read_bounded(ours, MAX_FILE), read_bounded(theirs, MAX_FILE)
    except ValueError as error:
        return f"{name}: {error}"
    if mine == yours:
        return ""
    if not name.endswith((".csv", ".md", ".tex")):
        return f"{name} differs"
    old, new = _lines(yours), _lines(mine)
    pairs = enumerate(zip(old, new, strict=False), start=1)
    number, line, expected = next(
        ((index, a, b) for index, (a, b) in pairs if a != b), (min(len(old), len(new)) + 1, "", "")
    )
    return f"{name} line {number} says {line[:80]!r}, recomputed {expected[:80]!r}"


def _lines(content: bytes) -> list[str]:
    return content.decode(errors="replace").splitlines()
