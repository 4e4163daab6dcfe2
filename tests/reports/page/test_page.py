"""The page: nothing unescaped, nothing loaded, and what it does in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, find_chromium, running_browser
from generate import generate_runs

from reports.audit.verdict import judge
from reports.figures.all_figures import make_figures
from reports.figures.pairs import PAIRS_PER_FIGURE
from reports.figures.palette import DARK_BACKGROUND
from reports.page.page import render_page
from reports.tables.all_tables import build_tables
from reports.writing.report import write_report
from reports.writing.report_folder import PAGE
from reports.writing.report_request import ReportRequest
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory

HOSTILE = "x<script>alert(1)</script>,y" + "-and-so-on" * 4
ALGORITHMS = ("ppo", "gorl-fm", HOSTILE)
TASKS = ("CheetahRun", "FishSwim")
POINTS = 4

CHROMIUM = find_chromium()
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed: `apt-get install chromium`"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    # A slash cannot be in a directory's name, so the closing tag is spelt another way.
    names = tuple(name.replace("/", "\u2215") for name in ALGORITHMS)
    path = tmp_path_factory.mktemp("html") / "run & <b>"
    return generate_runs(path, names, TASKS, range(2), points=POINTS)


@pytest.fixture(scope="module")
def page(run: RunDirectory) -> Path:
    out = run.path.parent / "report"
    write_report(ReportRequest((run.path,), reference="gorl2025", repetitions=200), out, ["html"])
    return out / PAGE


class Elements(HTMLParser):
    """Collects start tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_texts_of_run_directories_are_escaped(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    scripts = [attributes for tag, attributes in Elements(text).found if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert "x<script>" not in text
    assert "x&lt;script&gt;alert(1)" in text
    assert "run &amp; &lt;b&gt;" in text


def test_nothing_points_out_of_the_file(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for tag, attributes in Elements(text).found:
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert "url(http" not in text
    assert "@import" not in text


def test_ids_are_unique_and_links_lead_somewhere(page: Path) -> None:
    elements = Elements(page.read_text(encoding="utf-8")).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    links = {a["href"] for tag, a in elements if tag == "a" and a.get("href")}
    assert len(ids) == len(set(ids))
    assert {f"#{each}" for each in ids} >= links


def test_data_holds_every_run_as_stored(run: RunDirectory, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert len(data["curves"]) == len(ALGORITHMS) * len(TASKS) * 2  # modes
    group = next(each for each in data["curves"] if (each["algorithm"], each["task"]) == (0, 0))
    for seed, shown in enumerate(group["runs"]):
        rows = [
            r
            for r in run.files(Cell("ppo", "CheetahRun", seed)).read_curve()
            if r.mode == data["mode"]
        ]
        assert shown["steps"] == [row.env_steps for row in rows]
        assert shown["y"] == pytest.approx([row.return_mean for row in rows], abs=0.051)


def test_page_shows_every_table_and_figure(run: RunDirectory, page: Path) -> None:
    analysis = ReportRequest((run.path,), reference="gorl2025", repetitions=200).analyse()
    text = page.read_text(encoding="utf-8")
    for table in build_tables(analysis):
        assert text.count(f'id="table-{table.name}"') == 1
    for figure in make_figures(analysis):
        assert escape(figure.caption) in text or figure.name == "learning-curves-seeds"


def test_every_number_of_the_main_tables_names_its_runs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in ("final_returns", "task_scores", "aggregates", "pairwise", "reductions"):
        table = text.partition(f'id="table-{name}"')[2].partition("</table>")[0]
        cells = [a for tag, a in Elements(table).found if tag == "td" and "data-value" in a]
        assert cells
        published = table.count("(gorl2025)") * len(TASKS)
        assert len([cell for cell in cells if "data-runs" in cell]) == len(cells) - published


def test_figures_of_many_pairs_stand_with_the_comparisons(run: RunDirectory) -> None:
    analysis = ReportRequest((run.path,), repetitions=50).analyse()
    vars(analysis.differences)["pairs"] = analysis.differences.pairs * PAIRS_PER_FIGURE
    figures = [each for each in make_figures(analysis) if each.name.startswith("comparisons-")]
    drawings = {figure.name: b"<svg></svg>" for figure in figures}
    page = render_page([analysis], [], figures, drawings, judge(analysis.results), "")
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Comparisons"]
    titles = [f"Pairwise comparisons, {index} of 3" for index in (1, 2, 3)]
    assert re.findall(r"<h3>(.*?)</h3>", page) == titles


def test_dark_background_is_the_one_that_colours_were_chosen_for(page: Path) -> None:
    assert f"--paper: {DARK_BACKGROUND};" in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_of_the_full_matrix_is_small(tmp_path: Path) -> None:
    full = generate_runs(tmp_path / "full")
    write_report(ReportRequest((full.path,), repetitions=1000), tmp_path / "out", ("html",))
    assert (tmp_path / "out" / "report.html").stat().st_size < 2_000_000


# --- In a browser ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM
    with running_browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def opened(browser: Browser, page: Path) -> Browser:
    browser.open(page)
    return browser


def curves_shown(browser: Browser) -> int:
    shown = browser.evaluate("document.querySelectorAll('.panel .curve').length")
    assert isinstance(shown, int)
    return shown


@needs_chromium
def test_page_opens_without_a_problem_or_a_request(opened: Browser, page: Path) -> None:
    assert opened.problems() == []
    assert opened.requests() == [page.as_uri()]
    assert curves_shown(opened) == len(ALGORITHMS) * len(TASKS)
    assert opened.evaluate("document.getElementById('toggles').innerText").count("script") == 2


@needs_chromium
def test_toggle_hides_an_algorithm_and_brings_it_back(opened: Browser) -> None:
    toggle = "document.querySelector('#toggles button')"
    opened.evaluate(f"{toggle}.click()")
    assert curves_shown(opened) == (len(ALGORITHMS) - 1) * len(TASKS)
    assert opened.evaluate(f"{toggle}.getAttribute('aria-pressed')") == "false"
    opened.evaluate(f"{toggle}.click()")
    assert curves_shown(opened) == len(ALGORITHMS) * len(TASKS)


@needs_chromium
def test_every_run_can_be_shown(opened: Browser) -> None:
    opened.evaluate("view.value = 'runs'; view.dispatchEvent(new Event('change'))")
    assert curves_shown(opened) == len(ALGORITHMS) * len(TASKS) * 2


@needs_chromium
def test_hover_and_keys_read_the_right_numbers(opened: Browser, run: RunDirectory) -> None:
    last = [run.files(Cell("ppo", "CheetahRun", seed)).read_curve()[-2] for seed in (0, 1)]
    expected = f"{np.mean([row.return_mean for row in last]):.1f}"
    opened.evaluate("document.querySelector('.panel').scrollIntoView({block: 'center'})")
    place = "document.querySelector('.panel svg').getBoundingClientRect()"
    box = opened.evaluate(f"(({{x, y, width, height}}) => [x, y, width, height])({place})")
    opened.point_at(box[0] + 0.95 * box[2], box[1] + 0.5 * box[3])
    tip = "document.querySelector('.panel .tip')"
    assert expected in opened.evaluate(f"{tip}.querySelector('tr').innerText")
    opened.evaluate("document.querySelectorAll('.panel svg')[0].focus()")
    opened.press("Home")
    opened.press("End")
    assert expected in opened.evaluate("document.getElementById('readout').textContent")
    opened.press("Escape")
    assert opened.evaluate(f"{tip}.hidden") is True


@needs_chromium
def test_long_names_fit_a_narrow_window(browser: Browser, page: Path) -> None:
    width, height = 380, 420
    browser.open(page, width, height)
    browser.evaluate("document.querySelector('.panel > svg').focus()")
    browser.press("End")
    box = "document.querySelector('.panel .tip').getBoundingClientRect()"
    left, top, right, bottom = browser.evaluate(
        f"(({{left, top, right, bottom}}) => [left, top, right, bottom])({box})"
    )
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    samples = "[...document.querySelectorAll('{} .sample')].map((each) => each.innerHTML)"
    shown = browser.evaluate(samples.format(".panel .tip"))
    assert shown == browser.evaluate(samples.format("#toggles"))
    assert len(set(shown)) == len(ALGORITHMS)
    assert browser.evaluate("document.querySelector('.tip .sample').clientWidth") == 26


@needs_chromium
@pytest.mark.parametrize(
    ("axis", "last"),
    [("steps", "steps"), ("seconds", "wall-clock"), ("evaluations", "evaluations")],
)
def test_axis_can_be_chosen(opened: Browser, axis: str, last: str) -> None:
    opened.evaluate(f"axis.value = '{axis}'; axis.dispatchEvent(new Event('change'))")
    opened.evaluate("document.querySelector('.panel svg').focus()")
    opened.press("End")
    assert last in opened.evaluate("document.getElementById('readout').textContent")
    assert opened.problems() == []


@needs_chromium
def test_tables_sort_both_ways(opened: Browser) -> None:
    table = "document.querySelector('[aria-labelledby=table-runs]')"
    column = f"[...{table}.tBodies[0].rows].map((row) => Number(row.cells[5].dataset.value))"
    button = f"{table}.tHead.rows[0].cells[5].querySelector('button')"
    opened.evaluate(f"{button}.click()")
    rising = opened.evaluate(column)
    opened.evaluate(f"{button}.click()")
    assert rising == sorted(rising)
    assert opened.evaluate(column) == rising[::-1]


@needs_chromium
def test_a_number_leads_to_its_runs(opened: Browser) -> None:
    cell = "document.querySelector('[aria-labelledby=table-aggregates] td.number[data-runs]')"
    opened.evaluate(f"{cell}.click()")
    listed = opened.evaluate("[...document.querySelectorAll('#trace a')].map((a) => a.textContent)")
    assert len(listed) == len(TASKS) * 2
    assert all("/ppo/seed-" in run_id for run_id in listed)
    target = "document.querySelector(document.querySelector('#trace a').getAttribute('href'))"
    assert listed[0] in opened.evaluate(f"{target}.textContent")
    opened.press("Escape")
    assert opened.evaluate("document.getElementById('trace').hidden") is True


@needs_chromium
def test_light_and_dark(opened: Browser) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    opened.prefer("light")
    light = opened.evaluate(background)
    opened.prefer("dark")
    dark = opened.evaluate(background)
    opened.evaluate("theme.click()")
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(21, 24, 28)")
    assert opened.evaluate(background) == light
    opened.prefer("")
