"""docs/results.md: what the stored runs of `lite` say, answers first, tables folded below.

    python -m benchmarks.publishing.results_page > docs/results.md
    python -m benchmarks.publishing.results_picture      # docs/images/lite.png, which it shows

Every number and every claim comes from results/lite by the code that `suite report` and `suite
compare` use; nothing on the page is written by hand, and nothing is trained. While the matrix
fills, claims are made of the part that is whole: see `whole_part`.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.publishing.answers import Question, answer, ask
from benchmarks.publishing.results_tables import (
    SEEDS,
    TASKS,
    WIDTH,
    cell_seconds,
    cells_table,
    on_tasks_table,
    plain_table,
    returns_table,
    seconds_table,
)
from benchmarks.publishing.robustness import one_task_less, otherwise, still_rising
from reports.analysis.comparison import Analysis
from reports.figures.learning_curves import overview
from reports.runs.choice import EVERYTHING, Choice
from reports.runs.names import METHODS
from reports.runs.results import ENDINGS, Results, Run
from reports.tables.judgement import judgement_table
from reports.tables.runs import comparability, cost, failures, hyperparameters, machines
from reports.tables.scores import aggregates, leave_one_task_out, pairwise, task_intervals
from reports.tables.table import Table, escape_markdown
from reports.writing.report_request import ReportRequest, Subject
from suite.common.formatting import duration

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = "results/lite"
QUESTION = (
    "At equal steps and equal tuning, does a generative policy beat a Gaussian here, and where?"
)
LAST = "Were a run that diverged scored by its last evaluation instead of 0"
SAMPLED = "With sampled actions instead of noise-free ones"
"""Other choices, as sentences begin that tell the answer by them."""
_ENDED = ("done", "diverged")
FEWEST_TASKS = 2
"""With fewer the page shows no aggregate: it would be a single task by another name."""


def request(root: Path = ROOT, **changes: Any) -> ReportRequest:
    """Returns what the page and its picture are about, see `ReportRequest`."""
    return ReportRequest((root / DIRECTORY,), **changes)


def page(asked: ReportRequest) -> str:
    """Returns docs/results.md.

    Args:
        asked: which runs, and how they are analysed.

    Raises:
        UserError: see `ReportRequest.load`.
    """
    subject = asked.load()
    analysis, results = subject.analysis, subject.analysis.results
    of_part = dataclasses.replace(asked, choice=whole_part(results))
    part = of_part.load()
    question = ask(part.analysis)
    parts = [
        _HEAD,
        *_paragraphs([*_answer(question, part), *_robustness(question, part, of_part)]),
        *_paragraphs([_aggregate_text(part), *_curves(analysis)]),
        "## Final returns",
        "",
        plain_table(returns_table(analysis)),
        _CLIP,
        "## How much of it there is",
        "",
        *_paragraphs([_state_text(results), _part_text(part)]),
        "## What it was made on",
        "",
        *_paragraphs([_machine_text(results), _time_text(results)]),
        "## Tables",
        "",
        *(_folded(table) for table in _tables(analysis, part, question) if table.rows),
    ]
    return "\n".join(parts).rstrip() + "\n"


def whole_part(results: Results) -> Choice:
    """Returns the tasks and algorithms whose cells all came to an end; all if none did.

    A task counts if every one of `METHODS` that is stored anywhere has finished all seeds there
    that any has anywhere; another algorithm counts if it has on all of these tasks. A matrix is
    filled task by task, and what is compared must not depend on what is trained at the moment.
    """
    ended = {
        label: {
            task: {r.seed for r in results.runs_of(label, task) if r.state in _ENDED}
            for task in results.tasks
        }
        for label in results.algorithms
    }
    stored = [label for label in results.algorithms if label in METHODS]
    seeds = {run.seed for run in results.runs if run.algorithm in METHODS}
    tasks = [t for t in results.tasks if all(ended[label][t] >= seeds for label in stored)]
    if not stored or not tasks:
        return EVERYTHING
    algorithms = [a for a, found in ended.items() if all(found[t] >= seeds for t in tasks)]
    return Choice(tuple(tasks), tuple(algorithms))


def _answer(question: Question, part: Subject) -> list[str]:
    """Returns the answer, or that there is none where the runs may not be compared."""
    if part.verdict.level == "bad":
        return [f"**Nothing is claimed: the runs may not be compared.** {part.verdict.text}"]
    return answer(question)


def _robustness(question: Question, part: Subject, of_part: ReportRequest) -> list[str]:
    """Returns what the answer owes to one task, other choices and the budget."""
    if part.verdict.level == "bad":
        return []
    others: dict[str, dict[str, Any]] = {SAMPLED: {"mode": "sample"}}
    if any(run.state == "diverged" for run in part.analysis.results.runs):
        kept = {"policy": dataclasses.replace(of_part.policy, diverged="last")}
        others = {LAST: kept, **others}
    usual = one_task_less(question)
    found = [f"Whichever task is left out, {usual}" if usual else ""]
    for choice, changes in others.items():
        other = ask(dataclasses.replace(of_part, **changes).analyse())
        found.append(otherwise(question, other, choice))
        without = one_task_less(other)
        if without not in ("", usual):
            found.append(f"{choice}, and whichever task is left out, {without}")
    found.append(still_rising(part.analysis))
    return [text for text in found if text]


def _tables(analysis: Analysis, part: Subject, question: Question) -> list[Table]:
    """Returns what is folded away: of all runs, and of those that are looked at together."""
    results, together, judgement = analysis.results, part.analysis, question.judgement
    return [
        cells_table(results),
        *([aggregates(together)] if _is_aggregated(together) else []),
        *([_judged(judgement_table(judgement))] if judgement.pairs else []),
        on_tasks_table(question.on_tasks),
        pairwise(together),
        task_intervals(analysis),
        leave_one_task_out(together),
        seconds_table(results),
        cost(results),
        machines(results),
        comparability(together),
        hyperparameters(results),
        failures(analysis),
    ]


def _judged(table: Table) -> Table:
    title = "Generative against Gaussian, over tasks"
    note = f"New are here the generative methods, each against each Gaussian one. {table.note}"
    return dataclasses.replace(table, title=title, note=note)


# --- Sentences ---------------------------------------------------------------------------


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        indent = "  " if text.startswith("- ") else ""
        yield textwrap.fill(
            text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        yield ""


def _is_aggregated(analysis: Analysis) -> bool:
    return bool(analysis.algorithms) and len(analysis.tasks) >= FEWEST_TASKS


def _aggregate_text(part: Subject) -> str:
    """Returns the report's headline, or that there is nothing to aggregate over."""
    if part.verdict.level != "bad" and _is_aggregated(part.analysis):
        return f"Of all methods: {part.headline}"
    return "No aggregate score is given: it takes two whole tasks that may be compared."


def _part_text(part: Subject) -> str:
    tasks = ", ".join(part.analysis.results.tasks)
    verdict = part.verdict
    return f"What is claimed is claimed of {tasks}. {verdict.word} {verdict.text}"


def _curves(analysis: Analysis) -> list[str]:
    caption = escape_markdown(overview(analysis).caption)
    return ["![Learning curves, a panel a task](images/lite.png)", f"*{caption}*"]


def _state_text(results: Results) -> str:
    """Returns how many planned cells are stored, and what became of the others."""
    planned = [(method, task) for method in METHODS for task in TASKS]
    counts = dict.fromkeys(("done", *ENDINGS), 0)
    for method, task in planned:
        for run in _planned_runs(results, method, task):
            counts[run.state] += 1
    total, stored = len(planned) * SEEDS, sum(counts.values())
    whole = sum(
        [run.state for run in _planned_runs(results, *each)] == ["done"] * SEEDS for each in planned
    )
    others = [f"{counts[state]} {words}" for state, words in ENDINGS.items() if counts[state]]
    besides = len(results.runs) - stored
    return (
        f"Planned are {len(METHODS)} methods on {len(TASKS)} tasks with {SEEDS} seeds, {total} "
        f"cells. {counts['done']} of them came to the end of their budget"
        f"{''.join(f', {each}' for each in others)}, {total - stored} are missing. "
        f"{whole} of {len(planned)} pairs of a method and a task have all {SEEDS} seeds at their "
        f"end.{f' Besides these there are {besides} cells of other methods.' if besides else ''}"
    )


def _planned_runs(results: Results, method: str, task: str) -> list[Run]:
    return [run for run in results.runs_of(method, task) if run.seed < SEEDS]


def _machine_text(results: Results) -> str:
    """Returns processors, versions and commits, as the runs recorded them."""
    starts = [start for run in results.runs if run.record for start in run.record.provenance]
    versions = [
        f"{name} {_different(_at(start, 'packages', name) for start in starts)}"
        for name in ("jax", "mujoco", "mujoco-mjx", "playground")
    ]
    cpus = (f"{_at(s, 'cpu')} ({_at(s, 'cpus_available')} cores usable)" for s in starts)
    devices = (_at(start, "device", "kind") for start in starts)
    pythons = (_at(start, "python") for start in starts)
    return (
        f"Processor: {_different(cpus)}; computed on: {_different(devices)}; physics: "
        f"{', '.join(results.engines)}. Python {_different(pythons)}, {', '.join(versions)}. "
        f"Commit of the code: {_different(map(_commit, starts))}. The records hold no dates; a "
        "commit has one."
    )


def _commit(start: Mapping[str, Any]) -> str:
    changed = _at(start, "git", "clean") == "False"
    more = " with changes that were not committed" if changed else ""
    return f"`{_at(start, 'git', 'commit')[:12]}`{more}"


def _at(start: Mapping[str, Any], *place: str) -> str:
    """Returns what a start recorded at a place, `unknown` where it did not."""
    found: Any = start
    for name in place:
        found = found.get(name) if isinstance(found, Mapping) else None
    return "unknown" if found is None else str(found)


def _different(texts: Iterable[str]) -> str:
    return " and ".join(sorted({*texts})) or "unknown"


def _time_text(results: Results) -> str:
    seconds = [value for run in results.runs if (value := cell_seconds(run)) is not None]
    if not seconds:
        return "No run says how long it took."
    return (
        f"A cell took {duration(min(seconds))} to {duration(max(seconds))}, "
        f"{duration(statistics.median(seconds))} in the median, all {len(seconds)} together "
        f"{duration(sum(seconds))}: seconds of the job, divided among the seeds that it trains, "
        "with whatever else the machine did."
    )


# --- Markdown ----------------------------------------------------------------------------


def _folded(table: Table) -> str:
    return f"<details>\n<summary>{table.title}</summary>\n\n{plain_table(table)}\n</details>\n"


_HEAD = f"""# What `lite` says

*Written by `python -m benchmarks.publishing.results_page` from `{DIRECTORY}`, every number and
every claim; a test holds the page to that. How the words are meant: [statistics](statistics.md).*

{QUESTION}
"""


_CLIP = f"""## What the policies do

![One episode of each method on CheetahRun, side by side](images/policies.webp)

*The first three seconds of one episode on CheetahRun, all from one start state, of each method's
first seed that has a policy, without noise; at its own speed. Drawn by `suite watch {DIRECTORY}
--task CheetahRun --seconds 3 --out docs/images/policies.webp`; ten seconds are its default.*
"""


def main() -> None:
    """Prints docs/results.md."""
    argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0]).parse_args()
    print(page(request()), end="")


if __name__ == "__main__":
    main()
