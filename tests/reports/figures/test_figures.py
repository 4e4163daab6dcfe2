"""Figures: colours that everybody can tell apart, the right contents, the same bytes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from generate import generate_runs, write_cell
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text
from matplotlib.transforms import Bbox, BboxBase

from reports.analysis.comparison import Analysis
from reports.figures.all_figures import make_figures
from reports.figures.cost import format_duration
from reports.figures.drawing import (
    COLUMN_WIDTH,
    FULL_WIDTH,
    Figure,
    draw_legend,
    house_style,
    make_canvas,
    render,
)
from reports.figures.labels import fold, text_width
from reports.figures.pairs import PAIRS_PER_FIGURE
from reports.figures.palette import DARK_BACKGROUND, METHOD_STYLES, algorithm_styles
from reports.runs.loading import load_results
from reports.runs.names import METHODS
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory

REPETITIONS = 200
HOSTILE = "a$b$<script>,_"
LONG = "a-method-with-a-very-long-name-of-sixty-characters-or-even-so"

# Machado, Oliveira and Fernandes 2009: linear RGB as seen without one kind of cone.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    path = tmp_path_factory.mktemp("figures") / "run"
    return generate_runs(path, ("ppo", "gorl-fm"), ("CheetahRun", "FishSwim"), range(3), points=4)


@pytest.fixture(scope="module")
def figures(run: RunDirectory) -> dict[str, Figure]:
    return figures_of(run.path)


def figures_of(path: Path) -> dict[str, Figure]:
    analysis = Analysis(load_results([path]), repetitions=REPETITIONS)
    return {figure.name: figure for figure in make_figures(analysis)}


def linear_rgb(colour: str) -> np.ndarray:
    values = np.array([int(colour[index : index + 2], 16) for index in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """Returns CIE L*a*b* of linear RGB, where a distance of 2 is just noticeable."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = np.cbrt(to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(a: str, b: str) -> float:
    """Returns the contrast ratio that WCAG 2.2 defines."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    low, high = sorted(float(weights @ linear_rgb(colour)) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("kind", VISION)
def test_methods_stay_apart_for_everybody(kind: str) -> None:
    seen = [lab(VISION[kind] @ linear_rgb(METHOD_STYLES[name].colour)) for name in METHODS]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 25


@pytest.mark.parametrize("background", ["#ffffff", DARK_BACKGROUND])
def test_colours_stand_out_from_the_background(background: str) -> None:
    labels = [*METHOD_STYLES, *(f"other-{index}" for index in range(6))]
    colours = {style.colour for style in algorithm_styles(labels).values()}
    assert len(colours) == len(labels)
    assert min(contrast(colour, background) for colour in colours) >= 3


def test_a_colour_does_not_depend_on_who_else_is_there() -> None:
    alone = algorithm_styles(["gorl-fm"])["gorl-fm"]
    among = algorithm_styles(["other", "gorl-fm [clip=0.2]", "ppo", "gorl-fm"])
    assert among["gorl-fm"] == alone
    assert among["gorl-fm [clip=0.2]"].colour == alone.colour
    assert among["gorl-fm [clip=0.2]"].dash != alone.dash


def test_no_two_methods_of_many_look_the_same() -> None:
    names = [f"newcomer-{index:03d}" for index in range(120)]
    labels = [*METHOD_STYLES, *names]
    labels += [f"{name} [clip={clip}]" for name in ("gorl-identity", names[7]) for clip in range(9)]
    styles = algorithm_styles(labels)
    for look in ("dash", "marker"):
        assert len({(each.colour, getattr(each, look)) for each in styles.values()}) == len(labels)
    assert algorithm_styles(labels[::-1]) == styles
    assert styles[f"{names[7]} [clip=3]"].colour == styles[names[7]].colour


@pytest.mark.parametrize("width", [20, 90, 400])
@pytest.mark.parametrize("name", [LONG, "PPO [clip=0.2, decoder_epochs=11]", "x" * 60, "a  b"])
def test_names_are_folded_whole(name: str, width: float) -> None:
    lines = fold(name, 7, width).split("\n")
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    assert max(text_width(line, 7) for line in lines) <= width
    assert lines == [name] or width < text_width(name, 7)


def test_names_that_the_font_lacks_stay_distinct() -> None:
    assert fold("方法-é", 7, 400) == r"\u65b9\u6cd5-é"


def boxes(canvas: Canvas, texts: Iterable[Text]) -> list[Bbox]:
    renderer = FigureCanvasAgg(canvas).get_renderer()
    return [text.get_window_extent(renderer) for text in texts]


def laid_out(draw: Callable[[], Canvas]) -> Canvas:
    with house_style("test"):
        canvas = draw()
        FigureCanvasAgg(canvas).draw()
    return canvas


def holds(outer: BboxBase, inner: BboxBase) -> bool:
    slack = 1  # pixel
    low = np.asarray(inner.min) - np.asarray(outer.min)
    high = np.asarray(outer.max) - np.asarray(inner.max)
    return bool(min(*low, *high) >= -slack)


@pytest.mark.parametrize(
    ("count", "name", "width"),
    [(8, "short", COLUMN_WIDTH), (40, "newcomer", FULL_WIDTH), (9, LONG, COLUMN_WIDTH)],
)
def test_a_legend_covers_no_panel_and_is_whole(count: int, name: str, width: float) -> None:
    styles = algorithm_styles([f"{name}-{index}" for index in range(count)])

    def draw() -> Canvas:
        canvas, (axes,) = make_canvas(width, 2.7, 1, 1)
        axes.set(title="task", xlabel="steps")
        draw_legend(canvas, styles, 3)
        return canvas

    canvas = laid_out(draw)
    legend, panel = canvas.legends[0], canvas.axes[0]
    (title,) = boxes(canvas, [panel.title])
    shown = boxes(canvas, legend.get_texts())
    assert min(box.y0 for box in shown) >= title.y1
    assert all(holds(canvas.bbox, box) for box in shown)
    assert len({text.get_text() for text in legend.get_texts()}) == count
    assert panel.bbox.height > 1.2 * canvas.dpi  # inches


def test_rows_of_long_names_are_whole_and_distinct(tmp_path: Path) -> None:
    names = [f"{LONG}-{index}" for index in range(4)]
    path = generate_runs(tmp_path / "run", names, ("FishSwim",), (0, 1), points=2).path
    figures = figures_of(path)
    for figure, rows in (("comparisons", 6), ("aggregates", 4), ("final-returns", 4)):
        canvas = laid_out(figures[figure].draw)
        labels = canvas.axes[0].get_yticklabels()
        shown = boxes(canvas, labels)
        assert len({label.get_text() for label in labels}) == rows
        assert all(holds(canvas.bbox, box) for box in shown)
        assert all(above.y0 >= below.y1 - 1 for above, below in itertools.pairwise(shown))
        assert min(axes.bbox.width for axes in canvas.axes) > 0.6 * canvas.dpi
        for axes in canvas.axes:
            ticks = [text for text in axes.get_xticklabels() if text.get_text()]
            ends = boxes(canvas, ticks)
            assert all(a.x1 < b.x0 for a, b in itertools.pairwise(ends))


def test_many_pairs_fill_several_figures(run: RunDirectory) -> None:
    analysis = Analysis(load_results([run.path]), repetitions=REPETITIONS)
    pairs = analysis.differences.pairs
    vars(analysis.differences)["pairs"] = pairs * (PAIRS_PER_FIGURE + 1)
    figures = {figure.name: figure for figure in make_figures(analysis)}
    rows = [len(figures[f"comparisons-{i}"].draw().axes[0].get_yticks()) for i in (1, 2)]
    assert rows == [PAIRS_PER_FIGURE, 1]
    assert "comparisons" not in figures


def test_markers_of_equal_costs_are_whole(tmp_path: Path) -> None:
    path = generate_runs(tmp_path / "run", ("a", "b"), ("FishSwim",), (0, 1), points=2).path
    canvas = laid_out(figures_of(path)["trade-off"].draw)
    for axes in canvas.axes:
        marks = [line for line in axes.lines if line.get_marker() not in ("", "None")]
        data = [np.asarray(line.get_data(), float)[:, 0] for line in marks]
        x = [axes.transData.transform(point)[0] for point in data]
        assert len(x) == 2
        assert axes.bbox.x0 + 6 < min(x) and max(x) < axes.bbox.x1 - 6


def test_every_figure_is_there(figures: dict[str, Figure]) -> None:
    assert set(figures) == {
        "learning-curves",
        "learning-curves-seeds",
        "final-returns",
        "aggregates",
        "profiles",
        "sample-efficiency",
        "trade-off",
        "comparisons",
    }


def test_captions_tell_runs_and_intervals(figures: dict[str, Figure]) -> None:
    silent = {"learning-curves-seeds"}  # shows runs, estimates nothing
    for name in figures.keys() - silent:
        assert "n = 3 runs" in figures[name].caption
        assert "95% percentile intervals, stratified bootstrap" in figures[name].caption
        assert f"{REPETITIONS} repetitions" in figures[name].caption


def test_drawing_gives_the_same_bytes_whatever_a_users_settings(
    run: RunDirectory, figures: dict[str, Figure]
) -> None:
    first = render(figures["profiles"])
    hostile: dict[Any, Any] = {
        "text.usetex": True,
        "font.family": "serif",
        "figure.dpi": 31,
        "savefig.dpi": 31,
        "axes.xmargin": 0.4,
        "axes.unicode_minus": False,
        "legend.labelspacing": 3,
        "pdf.compression": 0,
        "path.simplify": False,
    }
    with mpl.rc_context(hostile):
        assert render(figures_of(run.path)["profiles"]) == first
        assert mpl.rcParams["figure.dpi"] == 31
    assert first["svg"].startswith(b"<?xml")
    assert first["pdf"].startswith(b"%PDF")
    assert first["png"].startswith(b"\x89PNG")


def test_a_curve_ends_at_the_mean_of_its_runs(
    run: RunDirectory, figures: dict[str, Figure]
) -> None:
    curves = [run.files(Cell("ppo", "CheetahRun", seed)).read_curve() for seed in range(3)]
    last = [[row for row in rows if row.mode == "deterministic"][-1] for rows in curves]
    panel = figures["learning-curves"].draw().axes[0]
    x, y = map(np.asarray, panel.lines[0].get_data())
    assert panel.get_title() == "CheetahRun"
    assert x[-1] == last[0].env_steps
    assert y[-1] == pytest.approx(np.mean([row.return_mean for row in last]))


def test_hostile_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", (HOSTILE, "_hidden"), ("CheetahRun",), (0, 1), points=3)
    figures = figures_of(run.path)
    drawn = render(figures["learning-curves"], ["svg"])["svg"].decode()
    texts = [text.strip("\u00a0 ") for text in re.findall(r"<text[^>]*>([^<]*)</text>", drawn)]
    assert "a$b$&lt;script&gt;,_" in texts
    assert "_hidden" in texts


def test_one_seed_has_no_band_and_unfinished_runs_a_cross(tmp_path: Path) -> None:
    run = generate_runs(tmp_path / "run", ("ppo",), ("CheetahRun",), (0,), points=4)
    job = Job("fpo", "CheetahRun", (0,))
    write_cell(run, job.cells[0], job, points=4, evaluations=2, state="running")
    figures = figures_of(run.path)
    assert not figures["learning-curves"].draw().axes[0].collections
    crosses = [
        line
        for line in figures["learning-curves-seeds"].draw().axes[0].lines
        if line.get_marker() == "x"
    ]
    assert len(crosses) == 1


def test_settings_of_one_algorithm_make_an_ablation(run: RunDirectory, tmp_path: Path) -> None:
    other = generate_runs(
        tmp_path / "other",
        ("ppo",),
        ("CheetahRun", "FishSwim"),
        range(3),
        points=4,
        hyperparameters={"clip": 0.9},
    )
    results = load_results([run.path, other.path])
    figures = make_figures(Analysis(results, repetitions=REPETITIONS))
    assert [each.title for each in figures if each.name.startswith("ablation")] == [
        "Settings of PPO"
    ]


def test_durations_are_round_and_short() -> None:
    shown = [format_duration(seconds) for seconds in (0, 90, 600, 5400, 36_000)]
    assert shown == ["0", "90 s", "10 min", "90 min", "10 h"]
