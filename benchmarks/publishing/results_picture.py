"""docs/images/lite.png: learning curves of the stored runs of `lite`, a panel a task.

    python -m benchmarks.publishing.results_picture

The curves are those of `suite report`: lines of means with their intervals, and a cross where a
seed diverged.
"""

from __future__ import annotations

import argparse

from benchmarks.publishing.results_page import ROOT, request
from reports.analysis.comparison import Analysis
from reports.figures.drawing import render
from reports.figures.learning_curves import overview
from suite.common.files import atomic_write

PICTURE = ROOT / "docs" / "images" / "lite.png"


def picture(analysis: Analysis) -> bytes:
    """Returns the picture as PNG."""
    return render(overview(analysis), ("png",))["png"]


def main() -> None:
    """Writes docs/images/lite.png."""
    argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0]).parse_args()
    atomic_write(PICTURE, picture(request().analyse()))


if __name__ == "__main__":
    main()
