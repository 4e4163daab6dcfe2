"""Rewrites the tables of docs/findings.md from the runs under results/.

    python -m benchmarks.findings            # rewrite the page and its figure
    python -m benchmarks.findings --check    # only say whether they are up to date

The page's text is written by hand; what stands between `<!-- table NAME -->` and
`<!-- end -->` comes from here. tests/test_findings.py fails when the two have parted. `--check`
leaves out the table of action distributions, for which policies have to act: it takes a minute or
two, and another kind of CPU may round its last digits differently.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from reports.ablation import Arms, ablation_tables
from reports.ablation_figures import ablation_curves
from reports.drawing import render
from reports.markup import Table, to_markdown
from reports.report import Request
from suite.storage.files import atomic_write
from suite.storage.store import RunDirectory

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "findings.md"
FIGURE = ROOT / "docs" / "images" / "findings-normalizer.png"
_BLOCK = re.compile(r"(<!-- table (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def load(name: str, mode: str = "deterministic") -> Arms:
    """Loads the runs of one ablation under results/."""
    arms = Request((ROOT / "results" / name,), mode=mode).load_arms()
    assert arms is not None, f"results/{name} is no ablation"
    return arms


def results_table(name: str, mode: str = "deterministic") -> Table:
    """Returns the table of one ablation's results."""
    return ablation_tables(load(name, mode))[0]


def actions_table() -> Table:
    """Returns the summary of the action distributions of the methods' final policies."""
    from reports.actions import analyse, make_tables
    from suite import runtime

    runtime.prepare()
    from suite.actions import sample_actions

    stored = RunDirectory.open(ROOT / "results" / "normalizer" / "cumulative-after")
    samples = sample_actions(stored, "CheetahRun", states=8)
    return make_tables(samples, analyse(samples))[0]


TABLES: Mapping[str, Callable[[], Table]] = {
    "normalizer": lambda: results_table("normalizer"),
    "normalizer-sampled": lambda: results_table("normalizer", "sample"),
    "normalizer-hopper": lambda: results_table("normalizer-hopper"),
    "controls": lambda: results_table("controls"),
    "actions": actions_table,
}
"""What makes each table of the page."""

UNCHECKED = frozenset({"actions"})
"""Tables that `--check` leaves as they are."""


def rebuilt(page: str, leave: frozenset[str] = frozenset()) -> str:
    """Returns the page with every table made anew, but for those in `leave`.

    Raises:
        KeyError: the page asks for a table that is not in `TABLES`.
    """

    def table(match: re.Match[str]) -> str:
        if match["name"] in leave:
            return match[0]
        return f"{match[1]}{to_markdown(TABLES[match['name']]()).strip()}\n{match[3]}"

    return _BLOCK.sub(table, page)


def write_figure() -> None:
    """Draws the learning curves of the normalizer ablation."""
    figure = ablation_curves(load("normalizer"))
    atomic_write(FIGURE, render(figure, ("png",))["png"])


def main() -> None:
    """Rewrites the page, or with `--check` exits with 1 if it is not up to date."""
    before = PAGE.read_text(encoding="utf-8")
    checking = "--check" in sys.argv[1:]
    after = rebuilt(before, leave=UNCHECKED if checking else frozenset())
    if checking:
        sys.exit("docs/findings.md is stale; run this without --check" if after != before else 0)
    atomic_write(PAGE, after.encode())
    write_figure()
    print(f"rebuilt {len(_BLOCK.findall(after))} tables of {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
