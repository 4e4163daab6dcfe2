"""Pictures of a report's page, for the README.

`python tests/helpers/screenshot.py results/lite docs/images/report.png --from "Learning curves"`
writes the page as it looks from that heading on; `--dark` shows it in its dark colours.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from browser import find_chromium, running_browser

from reports.writing.report import write_report
from reports.writing.report_request import ReportRequest
from suite.common.errors import UserError

WIDTH, HEIGHT = 1100, 1180
"""Pixels of the picture."""

_SCROLL = """(text) => {
  const all = [...document.querySelectorAll("h1, h2, h3")];
  const heading = all.find((each) => each.textContent === text);
  heading?.scrollIntoView();
  return Boolean(heading);
}"""


def take(run_dir: Path, image: Path, dark: bool = False, heading: str = "") -> None:
    """Writes a picture of the page that `suite report run_dir` makes.

    Args:
        run_dir: stored runs.
        image: the PNG to write.
        dark: for readers who prefer dark pages.
        heading: text of the heading at the top of the picture; the page's own if empty.

    Raises:
        UserError: there is no Chromium, or no such heading.
    """
    program = find_chromium()
    if program is None:
        raise UserError("no Chromium is installed; install one, such as the package `chromium`")
    with tempfile.TemporaryDirectory() as scratch:
        write_report(ReportRequest((run_dir,)), Path(scratch), ("html",))
        with running_browser(program, Path(scratch) / "profile") as browser:
            browser.prefer("dark" if dark else "light")
            browser.open(Path(scratch) / "report.html", WIDTH, HEIGHT)
            if heading and not browser.evaluate(f"({_SCROLL})({json.dumps(heading)})"):
                raise UserError(f"the page has no heading {heading!r}")
            image.write_bytes(browser.screenshot())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--from", dest="heading", default="", metavar="TEXT")
    given = parser.parse_args()
    take(given.run_dir, given.image, given.dark, given.heading)
