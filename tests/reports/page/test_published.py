"""Published curves on the page: data, lines, buttons and what is read off."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from browser import find_chromium, running_browser
from generate import generate_runs

from reports.page.page import _asset
from reports.writing.report import write_report
from reports.writing.report_request import ReportRequest

CHROMIUM = find_chromium()
LINES = "document.querySelectorAll('.published path').length"
READOUT = "document.getElementById('readout').textContent"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A page by the number of evaluations: of budgets that reach Brax's first, and that do not."""
    root = tmp_path_factory.mktemp("published")
    for points in (3, 80):
        run = generate_runs(root / f"run{points}", ("ppo",), ("CheetahRun",), (0,), points=points)
        request = ReportRequest((run.path,), reference="brax-playground", repetitions=50)
        write_report(request, root / str(points), ["html"])
    return {points: root / str(points) / "report.html" for points in (3, 80)}


def test_data_holds_what_lies_within_the_budget(pages: dict[int, Path]) -> None:
    found = re.search(r'id="data">(.*?)</script>', pages[80].read_text(encoding="utf-8"), re.DOTALL)
    assert found
    published = json.loads(found[1])["published"]
    assert [each["name"] for each in published["styles"]] == [
        "PPO (Brax's settings) (brax-playground)"
    ]
    (curve,) = published["curves"]
    assert curve["steps"] == [0, 9_830_400] and curve["y"] == [3, 272.0]


def test_a_page_without_them_has_no_script_for_them(pages: dict[int, Path]) -> None:
    for points, count in ((3, 0), (80, 1)):
        text = pages[points].read_text(encoding="utf-8")
        assert text.count(_asset("published.js")) == count
        assert text.count('id="table-references"') == 1


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: `apt-get install chromium`")
def test_lines_follow_buttons_and_axis(pages: dict[int, Path], tmp_path: Path) -> None:
    assert CHROMIUM is not None
    with running_browser(CHROMIUM, tmp_path / "profile") as browser:
        browser.open(pages[80])
        assert browser.evaluate(LINES) == 1
        browser.evaluate("document.querySelector('.panel svg').focus()")
        browser.press("End")
        assert "PPO (Brax's settings) (brax-playground) 272.0" in browser.evaluate(READOUT)
        browser.evaluate("document.querySelectorAll('#toggles button')[1].click()")
        assert browser.evaluate(LINES) == 0
        browser.evaluate("document.querySelectorAll('#toggles button')[1].click()")
        assert browser.evaluate(LINES) == 1
        browser.evaluate("axis.value = 'seconds'; axis.dispatchEvent(new Event('change'))")
        assert browser.evaluate(LINES) == 0
        browser.press("End")
        assert "Brax" not in browser.evaluate(READOUT)
        assert browser.problems() == []
