"""Rewrites the tables of docs/findings.md from the runs under results/.

    python -m benchmarks.findings            # rewrite the page and its figures
    python -m benchmarks.findings --check    # only say whether they are up to date

The page's text is written by hand; what stands between `<!-- table NAME -->` and
`<!-- end -->` comes from here. tests/test_findings.py fails when the two have parted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from reports.ablation import Arms, ablation_tables
from reports.ablation_figures import ablation_figures
from reports.drawing import render
from reports.markup import Table, to_markdown
from reports.report import Request
from suite.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "findings.md"
_BLOCK = re.compile(r"(<!-- table (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def load(name: str, mode: str = "deterministic") -> Arms:
    """Loads the runs of one ablation under results/."""
    arms = Request((ROOT / "results" / name,), mode=mode).load_arms()
    assert arms is not None, f"results/{name} is no ablation"
    return arms


def results_table(name: str, mode: str = "deterministic") -> Table:
    """Returns the table of one ablation's results."""
    return ablation_tables(load(name, mode))[0]


TABLES: Mapping[str, Callable[[], Table]] = {
    "normalizer": lambda: results_table("normalizer"),
    "normalizer-sampled": lambda: results_table("normalizer", "sample"),
    "normalizer-hopper": lambda: results_table("normalizer-hopper"),
    "controls": lambda: results_table("controls"),
}
"""What makes each table of the page."""


def rebuilt(page: str) -> str:
    """Returns the page with every table made anew.

    Raises:
        KeyError: the page asks for a table that is not in `TABLES`.
    """

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}{to_markdown(TABLES[match['name']]()).strip()}\n{match[3]}"

    return _BLOCK.sub(table, page)


def write_figures() -> None:
    """Draws the learning curves of the normalizer ablation."""
    for figure in ablation_figures(load("normalizer")):
        image = render(figure, ("png",))["png"]
        atomic_write(ROOT / "docs" / "images" / f"findings-{figure.name}.png", image)


def main() -> None:
    """Rewrites the page, or with `--check` exits with 1 if it is not up to date."""
    before = PAGE.read_text(encoding="utf-8")
    after = rebuilt(before)
    if "--check" in sys.argv[1:]:
        sys.exit("docs/findings.md is stale; run this without --check" if after != before else 0)
    atomic_write(PAGE, after.encode())
    write_figures()
    print(f"rebuilt {len(_BLOCK.findall(after))} tables of {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
