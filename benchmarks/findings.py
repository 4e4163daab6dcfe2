"""Rewrites what docs/findings.md says in tables, from the runs under results/.

    python -m benchmarks.findings            # rewrite the page and its figure
    python -m benchmarks.findings --check    # only say whether they are up to date

The page's text is written by hand; what stands between `<!-- table NAME -->` and
`<!-- end -->` comes from here, and the answer of docs/results.md stands between `<!-- answer -->`
and `<!-- end -->`. tests/benchmarks/test_findings.py fails when the two have parted.
`--check` leaves out the table of action distributions, for which policies have to act: it takes a
minute or two, and another kind of CPU may round its last digits differently.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.publishing.answers import restricted
from benchmarks.publishing.results_page import QUESTION
from reports.analysis.arms import Arms
from reports.analysis.bootstrap import (
    REPETITIONS,
    bootstrap_counts,
    difference,
    holm,
    iqm,
)
from reports.analysis.claims import permutation_test, reachable, sizes_of
from reports.figures.arms import ablation_curves
from reports.figures.drawing import render
from reports.judgement.verdicts import Judgement
from reports.runs.choice import Choice
from reports.runs.names import Label, display_name
from reports.tables.arms import ablation_tables
from reports.tables.entries import estimate_entry, make_table, p_value_entry
from reports.tables.judgement import judgement_table
from reports.tables.table import Entry, Table, to_markdown
from reports.writing.report_options import MARGIN
from reports.writing.report_request import ReportRequest
from suite.common.claim_floor import seeds_to_tell
from suite.common.files import atomic_write
from suite.configuration.recipe import Arm
from suite.storage.run_directory import RunDirectory

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "findings.md"
RESULTS = ROOT / "docs" / "results.md"
FIGURE = ROOT / "docs" / "images" / "findings-normalizer.png"
_BLOCK = re.compile(r"(<!-- table (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ANSWER = re.compile(r"(<!-- answer -->\n).*?(<!-- end -->)", re.DOTALL)


def load(name: str, mode: str = "deterministic") -> Arms:
    """Loads the runs of one ablation under results/."""
    arms = ReportRequest((ROOT / "results" / name,), mode=mode).load().arms
    assert arms is not None, f"results/{name} is no ablation"
    return arms


def results_table(name: str, mode: str = "deterministic") -> Table:
    """Returns the table of one ablation's results."""
    return ablation_tables(load(name, mode))[0]


EFFECTS = {
    "legacy less cumulative": (
        ("legacy-after", "legacy-before"),
        ("cumulative-after", "cumulative-before"),
    ),
    "before less after": (
        ("cumulative-before", "legacy-before"),
        ("cumulative-after", "legacy-after"),
    ),
}
"""Main effects of the normalizer's two switches: arms less arms, each beside its counterpart."""


def effects_table(name: str, mode: str = "deterministic") -> Table:
    """Returns what each of the two switches does to each method, over both values of the other.

    Args:
        name: of an ablation under results/ with the arms of `EFFECTS`.
        mode: of the evaluations.
    """
    arms = load(name, mode)
    names = {arm.name: arm for arm in arms.ablation.arms}
    found = {}
    for method in arms.methods:
        for effect, sides in EFFECTS.items():
            x, y = (
                [_scores(arms, method, names[arm], task) for arm in side for task in arms.tasks]
                for side in sides
            )
            generator = np.random.default_rng([0, zlib.crc32(f"{method} {effect}".encode())])
            counts = [bootstrap_counts([*map(len, s)], REPETITIONS, generator) for s in (x, y)]
            p_value = permutation_test(x, y, REPETITIONS, generator)
            estimate = difference(iqm, x, y, counts[0], counts[1])
            found[method, effect] = estimate, p_value, sizes_of(x, y)
    adjusted = dict(zip(found, holm([p for _, p, _ in found.values()]), strict=True))
    sizes = [sizes for _, _, sizes in found.values()]
    within = dict(zip(found, reachable(sizes, REPETITIONS), strict=True))
    rows = [
        [
            Entry(display_name(method)),
            *(
                entry
                for effect in EFFECTS
                for entry in (
                    estimate_entry(found[method, effect][0]),
                    p_value_entry(found[method, effect][1]),
                    p_value_entry(adjusted[method, effect])
                    if within[method, effect]
                    else Entry("too few runs", adjusted[method, effect]),
                )
            ),
        ]
        for method in arms.methods
    ]
    columns = [f"{name}{each}" for name in EFFECTS for each in ("", ": p", ": p (Holm)")]
    note = (
        f"Difference of the IQM of final scores in the mode {mode} [95% percentile interval], each "
        "arm beside its counterpart with the other switch alike, so six runs against six. p: "
        "permutation test of the mean within counterparts; Holm: corrected for all "
        f"{len(found)} of the table."
    )
    if not all(within.values()):
        needed = seeds_to_tell(min(map(len, sizes)), len(found))
        note += f" There are too few runs to tell: needs {needed} seeds."
    return make_table("effects", "Main effects", ["method", *columns], rows, note)


def _scores(arms: Arms, method: str, arm: Arm, task: str) -> np.ndarray:
    return arms.analysis.scores.of(arms.label(method, arm), task).scores


def actions_table() -> Table:
    """Returns the summary of the action distributions of the methods' final policies."""
    from reports.analysis.action_findings import action_findings
    from reports.tables.actions import action_tables
    from suite.common import jax_settings

    jax_settings.prepare()
    from suite.training.sample_actions import sample_actions

    stored = RunDirectory.open(ROOT / "results" / "normalizer" / "cumulative-after")
    samples = sample_actions(stored, "CheetahRun", states=8)
    return action_tables(samples, action_findings(samples))[0]


def divergence_table() -> Table:
    """Returns what had grown before seeds of `lite` diverged, from the record of it."""
    from benchmarks.divergence import HEADER, RECORD, lines

    record = json.loads(RECORD.read_text(encoding="utf-8"))
    note = (
        "Trained on from the state that is kept of each. Flow loss: mean of an update, of the "
        "first and of the last that is finite. Actions: the largest coordinate before tanh in all "
        "environments, before the update that is not finite."
    )
    rows = [tuple(map(Entry, line)) for line in lines(record)]
    return make_table("divergence", "Before seeds diverged", HEADER, rows, note)


METHODS_RUNS = ("lite", "lite-methods", "lite-cartpole")
METHODS_TASKS = ("CheetahRun", "CartpoleSwingup")
"""On which methods beyond the five are trained; the five's settings were searched on the second."""


def judged_table(
    title: str,
    new: tuple[str, ...],
    against: tuple[str, ...],
    runs: tuple[str, ...] = METHODS_RUNS,
) -> Table:
    """Returns how methods beyond the five compare with others, as `suite compare` judges new ones.

    Args:
        title: of the table.
        new: the methods.
        against: whom each is compared with.
        runs: directories in results/; where several hold a method in other settings, it is that
            of the first.
    """
    directories = tuple(ROOT / "results" / name for name in runs)
    chosen = Choice(METHODS_TASKS, (*against, *new))
    loaded = ReportRequest(directories, choice=chosen).analyse()
    analysis = restricted(loaded, (*against, *new), METHODS_TASKS)
    return dataclasses.replace(
        judgement_table(Judgement(analysis, tuple(map(Label, new)), MARGIN)), title=title
    )


TABLES: Mapping[str, Callable[[], Table]] = {
    "normalizer": lambda: results_table("normalizer"),
    "normalizer-sampled": lambda: results_table("normalizer", "sample"),
    "normalizer-effects": lambda: effects_table("normalizer"),
    "normalizer-effects-sampled": lambda: effects_table("normalizer", "sample"),
    "normalizer-hopper": lambda: results_table("normalizer-hopper"),
    "normalizer-hopper-effects": lambda: effects_table("normalizer-hopper"),
    "controls-hopper": lambda: results_table("controls-hopper"),
    "statistics-restart": lambda: results_table("statistics-restart"),
    "controls": lambda: results_table("controls"),
    "gaussian-decoder": lambda: judged_table(
        "A Gaussian decoder against a generative one", ("gorl-gauss",), ("gorl-fm", "gorl-diff")
    ),
    "controls-lite": lambda: judged_table(
        "GoRL's controls against GoRL, at its settings",
        ("gorl-identity", "ppo-matched", "ppo-matched-reset", "gorl-gauss"),
        ("gorl-fm", "gorl-diff"),
        ("lite-controls", "lite", "lite-cartpole"),
    ),
    "lite-kl": lambda: results_table("lite-kl"),
    "lite-restart": lambda: results_table("lite-restart"),
    "lite-prior": lambda: results_table("lite-prior"),
    "lite-stages": lambda: results_table("lite-stages"),
    "lite-dsrl": lambda: results_table("lite-dsrl"),
    "baselines": lambda: judged_table(
        "Other baselines against PPO",
        ("ppo-brax", "fpo-plus-plus", "reinflow", "dppo-ren"),
        ("ppo",),
    ),
    "off-policy": lambda: judged_table(
        "Off-policy methods against PPO, at three tenths of the budget",
        ("sac", "gorl-sac-fm", "gorl-sac-diff", "rldt", "rldt-warm"),
        ("ppo",),
        ("lite-off-policy",),
    ),
    "gorl-on-sac": lambda: judged_table(
        "GoRL on SAC against SAC",
        ("gorl-sac-fm", "gorl-sac-diff"),
        ("sac",),
        ("lite-off-policy",),
    ),
    "divergence": divergence_table,
    "actions": actions_table,
}
"""What makes each table of the page."""

UNCHECKED = frozenset({"actions"})
"""Tables that `--check` leaves as they are."""


def rebuilt(page: str, leave: frozenset[str] = frozenset()) -> str:
    """Returns the page with its answer and every table made anew, but for those in `leave`.

    Raises:
        KeyError: the page asks for a table that is not in `TABLES`.
    """

    def table(match: re.Match[str]) -> str:
        if match["name"] in leave:
            return match[0]
        return f"{match[1]}{folded(TABLES[match['name']]())}\n{match[3]}"

    answered = _ANSWER.sub(lambda match: f"{match[1]}\n{answer()}\n\n{match[2]}", page)
    return _BLOCK.sub(table, answered)


def answer() -> str:
    """Returns what docs/results.md, which its own command writes, answers to its question."""
    _, _, after = RESULTS.read_text(encoding="utf-8").partition(QUESTION)
    return after.partition("\n![")[0].strip()


def folded(table: Table) -> str:
    """Returns a Markdown table that opens under its title, so that the page leads with answers."""
    heading, _, rest = to_markdown(table).strip().partition("\n")
    title = f"<details><summary>{heading.removeprefix('### ')}</summary>"
    return f"{title}\n{rest}\n\n</details>"


def write_figure() -> None:
    """Draws the learning curves of the normalizer ablation."""
    figure = ablation_curves(load("normalizer"))
    atomic_write(FIGURE, render(figure, ("png",))["png"])


def main() -> None:
    """Rewrites the page, or with `--check` exits with 1 if it is not up to date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    checking = parser.parse_args().check
    before = PAGE.read_text(encoding="utf-8")
    after = rebuilt(before, leave=UNCHECKED if checking else frozenset())
    if checking:
        sys.exit("docs/findings.md is stale; run this without --check" if after != before else 0)
    atomic_write(PAGE, after.encode())
    write_figure()
    print(f"rebuilt {len(_BLOCK.findall(after))} tables of {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
