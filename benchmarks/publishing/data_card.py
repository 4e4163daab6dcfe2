"""The card of results/data: what the table holds, how it was made, what it may be used for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from benchmarks.publishing.stored import Stored
from reports.runs.names import algorithm_order
from suite.common.formatting import count
from suite.configuration.selection import format_seeds

COLUMNS: Mapping[str, tuple[str, str]] = {
    "directory": ("", "the run directory, from the root of the repository"),
    "ablation": ("", "the ablation that the directory is an arm of; blank if of none"),
    "arm": ("", "the arm; blank if of no ablation"),
    "protocol": ("", "name of the rules that were equal for all runs of the directory"),
    "fingerprint": ("", "digest of those rules but for their names; another one, other rules"),
    "budget_steps": ("environment steps", "what a run may take, evaluation aside"),
    "algorithm": ("", "name of the method, as of `suite list algos`"),
    "label": ("", "the same with what it was set to, where a directory holds it in two settings"),
    "task": ("", "of DMControl, by its name in MuJoCo Playground"),
    "seed": ("", "of the run; equal seeds of two methods share nothing but evaluation's starts"),
    "state": ("", "how the run ended: done, diverged, running (not finished) or damaged"),
    "diverged_at": ("environment steps", "where numbers were found not finite; blank if nowhere"),
    "engine": ("", "what stepped the physics: native, jax or warp"),
    "hyperparameters": ("", "every setting of the method, as JSON with sorted keys; settings that "
                        "came later have the value that older runs used"),
    "parameter_count": ("numbers", "trainable numbers of all networks together"),
    "seeds_together": ("runs", "seeds that were trained in one program, which share its seconds"),
    "commit": ("", "of the code; `A then B` where a run was stopped and went on with another, "
               "as in the six columns after `clean`"),
    "clean": ("", "whether the checkout had no change that was not committed, at every start"),
    "python": ("", "version"),
    "jax": ("", "version"),
    "mujoco": ("", "version"),
    "mujoco_mjx": ("", "version"),
    "playground": ("", "version"),
    "cpu": ("", "model of the processor"),
    "device": ("", "what JAX computed on"),
    "run_id": ("", "task, algorithm, seed, and a digest of what ran and of what came out"),
    "env_steps": ("environment steps", "taken before this evaluation; the sum of the next three "
                  "kinds, evaluation aside"),
    "mode": ("", "`deterministic`: actions without noise; `sample`: drawn from the policy"),
    "return_mean": ("return", "mean over the episodes, undiscounted; DMControl: 0 to 1000"),
    "return_std": ("return", "standard deviation over the episodes of this one policy (denominator "
                   "`episodes`); it says nothing of the spread over seeds"),
    "episodes": ("episodes", "that this evaluation played in this mode"),
    "wall_seconds": ("s", "since the run began, compilation included, pauses not"),
    "updates": ("updates", "of the budget that came before, those of a warm-up included"),
    "stage": ("", "part of the budget, from 0: GoRL's stage; 0 where a method has none, and of a "
              "method with a warm-up 0 in it and 1 after it"),
    "train_steps": ("environment steps", "that the policy was updated from"),
    "warmup_steps": ("environment steps", "of a warm-up before the method itself; `rldt-warm` has "
                     "PPO learn in it"),
    "decoder_data_steps": ("environment steps", "taken only to fit a decoder on"),
    "eval_steps": ("environment steps", "of evaluation; no part of the budget"),
    "train_seconds": ("s", "part of `wall_seconds` in rollouts and updates"),
    "eval_seconds": ("s", "part of `wall_seconds` in evaluation"),
}  # fmt: skip
"""Unit and meaning of every column; all counts and seconds are cumulative."""

Cells = Sequence[object]


def card(directories: Sequence[Stored], table: pd.DataFrame, files: Mapping[str, int]) -> str:
    """Returns results/data/README.md.

    Args:
        directories: that were read.
        table: every evaluation.
        files: bytes of the files that hold it, by name.
    """
    held = [each for each in directories if each.results is not None]
    runs = sum(len(each.results.runs) for each in held if each.results)
    total = (
        f"{count(len(table))} rows of {len(table.columns)} columns, from {count(runs)} runs in "
        f"{len(held)} run directories"
    )
    parts = [
        _HEAD.format(total=total, sizes=_sizes(files)),
        *_markdown(("directory", *_HEADER), map(_directory_cells, directories)),
        _COLUMNS,
        *_markdown(("column", "type", "unit", "meaning"), _column_cells(table)),
        _USES,
        *_flaws(directories, table),
        _END,
    ]
    return "\n".join(parts)


def _sizes(files: Mapping[str, int]) -> str:
    return " and ".join(f"`{name}` ({size / 1e6:.1f} MB)" for name, size in files.items())


def _markdown(header: Sequence[str], rows: Iterator[Cells]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(map(str, cells))} |" for cells in lines]


_HEADER = (
    "what", "protocol", "fingerprint", "budget", "tasks", "algorithms", "seeds", "runs",
    "done", "diverged", "unfinished", "damaged", "rows",
)  # fmt: skip


def _directory_cells(stored: Stored) -> Cells:
    protocol = stored.run.protocol
    results = stored.results
    runs = results.runs if results else ()
    states = Counter(run.state for run in runs)
    methods = sorted({run.algorithm.method for run in runs}, key=algorithm_order)
    return [
        f"`{stored.name}`",
        stored.purpose,
        protocol.name,
        f"`{protocol.fingerprint()}`",
        count(protocol.updates * protocol.steps_per_update),
        ", ".join(results.tasks) if results else "",
        ", ".join(methods),
        format_seeds(results.seeds) if results else "",
        len(runs),
        *(states[state] for state in ("done", "diverged", "running", "damaged")),
        count(sum(len(run.curve) for run in runs)),
    ]


def _column_cells(table: pd.DataFrame) -> Iterator[Cells]:
    for name in table.columns:
        unit, meaning = COLUMNS[name]
        kind = str(table[name].dtype).lower()
        yield [f"`{name}`", "text" if kind == "object" else kind, unit, meaning]


def _flaws(directories: Sequence[Stored], table: pd.DataFrame) -> Iterator[str]:
    yield from _ended_early(directories)
    findings = Counter(
        (finding.kind, each.name)
        for each in directories
        if each.results
        for finding in each.results.findings
    )
    runs = table.drop_duplicates(["directory", "run_id"])
    yield _FLAWS.format(
        lost=sum(number for (kind, _), number in findings.items() if kind == "not finite"),
        aside=sum(each.set_aside for each in directories),
        unclean=int((~runs.clean.fillna(value=False)).sum()),
        commits=runs.commit.nunique(),
        cpus=runs.cpu.nunique(),
        copies=int(runs.run_id.duplicated().sum()),
    )
    kinds = sorted({kind for kind, _ in findings})
    places = {kind: [name for each, name in sorted(findings) if each == kind] for kind in kinds}
    totals = {kind: sum(findings[kind, name] for name in places[kind]) for kind in kinds}
    rows = ([kind, totals[kind], ", ".join(f"`{n}`" for n in places[kind])] for kind in kinds)
    yield from _markdown(("note", "how often", "where"), rows)


def _ended_early(directories: Sequence[Stored]) -> Iterator[str]:
    """Yields the table of the runs that are not done."""
    rows: list[Cells] = [
        [
            f"`{each.name}`",
            run.algorithm.method,
            run.task,
            run.seed,
            run.state,
            count(run.status.divergence.step) if run.status and run.status.divergence else "",
        ]
        for each in directories
        for run in (each.results.runs if each.results else ())
        if run.state != "done"
    ]
    yield f"""
## Known flaws

- {len(rows)} runs did not come to their end. Their curves stop early, so that a mean over the seeds
  that are left flatters the method; the suite itself scores a diverged run 0 from there on.
"""
    if rows:
        header = ("directory", "algorithm", "task", "seed", "state", "not finite after steps")
        yield from _markdown(header, iter(rows))


_HEAD = """---
license: apache-2.0
pretty_name: "GoRL suite: every evaluation of every stored run"
tags: [reinforcement-learning, continuous-control, learning-curves, benchmark]
configs:
- config_name: default
  data_files: evaluations.parquet
---

# Every evaluation of every stored run

<!-- docs/data.md shows what follows -->

*Written by `python -m benchmarks.publishing.dataset`, figures and all; a test holds the files to
the runs, and every row to the `curve.csv` that it is from.*

{total}.

One row is one evaluation of one policy in one mode, while a method was trained on a task. Nothing
is smoothed, averaged over seeds or left out but for what "Known flaws" names. Rows are sorted by
directory, task, algorithm, seed, steps and mode. In results/data, with the same content:
{sizes}.

```
import pandas as pd

rows = pd.read_parquet("results/data/evaluations.parquet")  # or pd.read_csv of the other
lite = rows[(rows.directory == "results/lite") & (rows["mode"] == "deterministic")]
last = lite[lite.env_steps == lite.groupby("run_id").env_steps.transform("max")].copy()
last.loc[last.state == "diverged", "return_mean"] = 0  # as the tables score them by default
last.pivot_table(index="algorithm", columns="task", values="return_mean", aggfunc=["mean", "count"])
```

The episodes behind each row, the training metrics, the whole protocol and the final policies, where
they were kept, are in the run directories themselves, in the files that
suite/storage/cell_files.py names.

## What is in it
"""

_COLUMNS = """
## Columns

All counts and seconds are cumulative. Blank (null in Parquet) is what a run's record does not tell.
"""

_USES = """
## What the numbers may be used for, and what not

- Methods may be compared within one `directory`, or between rows of equal `fingerprint`, `engine`
  and `task`: their budgets, start states of evaluation and rules are then the same. Different
  fingerprints mean different rules, often another budget; never pool them.
- The unit of replication is the seed. Two modes, the episodes of an evaluation and the points of a
  curve are no further samples: `return_std` is no error bar of a method.
- Take the interval and the test from `suite report DIRECTORY`, which knows of diverged, missing and
  unfinished seeds, or do as docs/statistics.md says. A few seeds on one task decide nothing.
- The last row of a curve is the policy at the end of the budget; the best row is chosen with
  hindsight and flatters whichever method varies more.
- Directories of searches (`lite-search`, `lite-size`, those of `suite tune`) hold the runs that
  settings were chosen by. Their seeds are no evidence for the settings that won.
- A protocol is named by its file at the time; `lite` of one directory and `lite` of another are the
  same rules only if their fingerprints are equal.
- Seconds were measured beside whatever else the machine did, and are those of all seeds that were
  trained together; they compare costs within one directory roughly, and machines not at all.
- Scores are those of this suite's sizes and settings. They are no reproduction of a paper's numbers
  unless a page of docs/ says so.
"""

_FLAWS = """
- Runs that had evaluations whose return was not finite, which are left out: {lost}.
- Tries of diverged seeds that were started afresh, which are left out: {aside}.
- Runs that stand in a second directory too, with the same `run_id`, as an ablation takes over what
  another has trained: {copies}. Drop them before directories are put together.
- Runs from a checkout with changes that were not committed (`clean`), so that their commit does not
  say all of their code: {unclean}.
- Different commits: {commits}; different models of processor: {cpus}. A difference between two
  directories may be one of the code.
- What the suite's own checks note of each directory by itself, which `suite audit DIRECTORY`
  explains:
"""

_END = """
## Licence

Apache-2.0, as the rest of the repository (`LICENSE` at its root). There are no personal data in
it: the records name no person and no host.
"""
