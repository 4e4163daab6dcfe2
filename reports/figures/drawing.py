"""How every figure is drawn, by matplotlib; the same input gives the same bytes.

Lines and areas have the colours of `reports.figures.palette`. Text and axes have one ink, so that
a page may recolour them, and backgrounds are transparent but for PNG.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from reports.analysis.bootstrap import Band, Estimate
from reports.figures.labels import FONT, fold, text_width
from reports.figures.palette import Style, algorithm_styles
from reports.runs.names import display_name
from reports.runs.results import Results

Format = Literal["svg", "pdf", "png"]
FORMATS: tuple[Format, ...] = get_args(Format)

INK = "#1a1d21"
"""Colour of text and axes."""

FULL_WIDTH = 6.9
"""Inches; the text width of a two-column paper."""

COLUMN_WIDTH = 3.35
"""Inches; one column of a two-column paper."""

_DPI = 200
"""Pixels of a PNG per inch."""

_MAX_PIXELS = 60_000
"""Of a side; matplotlib draws fewer than 2^16."""

ROW_SIZE = 7.0
"""Font size of the rows of a chart, in points."""

_LEGEND_SIZE = 7.5
_LEGEND_ROOM = 0.4
"""Inches of every figure's height that are meant for its legend."""

EDGE = 0.015
"""Share of a bounded axis that is shown beyond its bounds, lest what lies there is cut."""

_SETTINGS: dict[Any, Any] = {
    "font.family": FONT,
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": ROW_SIZE,
    "ytick.labelsize": ROW_SIZE,
    "legend.fontsize": _LEGEND_SIZE,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#808080",
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,  # a name with two dollar signs is no formula
    "svg.fonttype": "none",  # text stays text: searchable, and small
    "pdf.fonttype": 42,
}


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: of its files, without their ending.
        title: a few words.
        caption: what is drawn, of how many runs, and which intervals.
        draw: makes it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Canvas]


@contextlib.contextmanager
def house_style(salt: str) -> Iterator[None]:
    """Draws as the suite does, whatever a user's matplotlibrc says.

    Args:
        salt: what ids within an SVG are made from.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**_SETTINGS, "svg.hashsalt": salt})
        yield


def render(figure: Figure, formats: Sequence[Format] = FORMATS) -> dict[str, bytes]:
    """Returns the content of a figure's files by format."""
    with house_style(figure.name):
        canvas = figure.draw()
        engine = canvas.get_layout_engine()
        if engine is not None:
            engine.execute(canvas)  # lay out once, not once a format
            canvas.set_layout_engine("none")
        return {each: _saved(canvas, each) for each in formats}


def _saved(canvas: Canvas, kind: Format) -> bytes:
    # `Figure.savefig` draws everything twice, the first time only to lay it out again.
    canvas.set_facecolor("white" if kind == "png" else "none")
    canvas.set_dpi(min(_DPI, _MAX_PIXELS // max(canvas.get_size_inches())))
    file = io.BytesIO()
    backend, printer, dated = _PRINTERS[kind]
    # By name, as matplotlib gives these methods no types.
    getattr(backend(canvas), printer)(file, metadata={dated: None})
    return file.getvalue()


_PRINTERS: Mapping[Format, tuple[type[FigureCanvasBase], str, str]] = {
    "svg": (FigureCanvasSVG, "print_svg", "Date"),
    "pdf": (FigureCanvasPdf, "print_pdf", "CreationDate"),
    "png": (FigureCanvasAgg, "print_png", "Software"),
}
"""What draws each format, by which method, and the field that would change from day to day."""


def styles_of(results: Results) -> dict[str, Style]:
    """Returns the style of every algorithm."""
    return algorithm_styles(results.algorithms)


def make_canvas(
    width: float,
    height: float,
    rows: int,
    columns: int,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Canvas, list[Axes]]:
    """Returns an empty figure, in inches, and its panels row by row."""
    canvas = Canvas(figsize=(width, height), layout="constrained")
    grid = canvas.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return canvas, list(grid.flat)


def draw_line(axes: Axes, x: np.ndarray, y: np.ndarray, style: Style, **options: Any) -> None:
    """Draws y [P] over x [P] in an algorithm's colour and dash."""
    dashes = (0, style.dash) if style.dash else "-"
    axes.plot(x, y, color=style.colour, linestyle=dashes, **options)


def draw_band(axes: Axes, band: Band, style: Style, steps: bool = False) -> None:
    """Draws a curve and, where it is known, its interval."""
    drawstyle = {"drawstyle": "steps-post"} if steps else {}
    draw_line(axes, band.x, band.value, style, **drawstyle)
    if np.isfinite(band.low).any():
        axes.fill_between(
            band.x,
            band.low,
            band.high,
            color=style.colour,
            alpha=0.18,
            linewidth=0,
            step="post" if steps else None,
        )


def draw_estimate(
    axes: Axes,
    row: float,
    estimate: Estimate,
    style: Style,
    marker: str = "",
) -> None:
    """Draws a value and, where it is known, its interval along a row."""
    if estimate.has_interval:
        ends = [estimate.low, estimate.high]
        axes.plot(ends, [row, row], color=style.colour, linewidth=2.2, solid_capstyle="butt")
    size = 9 if marker == "|" else 4.5
    axes.plot(estimate.value, row, marker or style.marker, color=style.colour, ms=size)


def draw_point(axes: Axes, x: float, estimate: Estimate, style: Style) -> None:
    """Draws a value and, where it is known, its interval upright at x."""
    if estimate.has_interval:
        axes.plot([x, x], [estimate.low, estimate.high], color=style.colour, linewidth=1.2)
    axes.plot(x, estimate.value, style.marker, color=style.colour, ms=6)


def name_rows(axes: Axes, texts: Sequence[str]) -> None:
    """Writes folded texts beside the rows 0, 1, ... of a chart, the first on top."""
    axes.set_yticks(range(len(texts)), list(texts))
    axes.set_ylim(len(texts) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def row_names(labels: Sequence[str], width: float) -> list[str]:
    """Returns the names of algorithms, given their labels, in lines of at most `width` inches."""
    return [fold(display_name(label), ROW_SIZE, 72 * width) for label in labels]


def draw_legend(
    canvas: Canvas,
    styles: Mapping[str, Style],
    columns: int = 5,
    markers: bool = False,
    thin: Mapping[str, Style] | None = None,
) -> None:
    """Draws one legend above all panels, of lines or of markers, and of thin lines with both.

    The figure grows by what the legend needs beyond the room that is meant for it, so that
    panels keep their size.
    """
    handles = [
        Line2D(
            [],
            [],
            color=style.colour,
            linestyle="none" if markers else (0, style.dash) if style.dash else "-",
            marker=style.marker if markers else None,
        )
        for style in styles.values()
    ]
    thin = thin or {}
    handles += [_thin_sample(style) for style in thin.values()]
    length = _handle_length([] if markers else [*styles.values(), *thin.values()])
    texts, columns = _legend_columns(canvas, [*styles, *thin], columns, length)
    # A no-break space in front: matplotlib takes labels that begin with _ for private ones.
    labels = ["\n".join(f"\u00a0{line}" for line in text.split("\n")) for text in texts]
    legend = canvas.legend(
        handles, labels, loc="outside upper center", ncols=columns, handlelength=length
    )
    renderer: Any = FigureCanvasAgg(canvas)  # matplotlib gives its method no types
    height = legend.get_window_extent(renderer.get_renderer()).height / canvas.dpi
    canvas.set_figheight(canvas.get_figheight() + max(0.0, height - _LEGEND_ROOM))


def _thin_sample(style: Style) -> Line2D:
    dashes: Any = (0, style.dash) if style.dash else "-"
    marker: dict[str, Any] = {"marker": style.marker, "ms": 2.2, "mfc": "none", "mew": 0.7}
    return Line2D([], [], color=style.colour, linestyle=dashes, linewidth=0.7, **marker)


def _handle_length(styles: Iterable[Style]) -> float:
    """Returns how long a legend's samples are, in font sizes: every dash is seen once."""
    width = float(_SETTINGS["lines.linewidth"])
    longest = max((sum(style.dash) for style in styles), default=0.0)
    return max(float(_SETTINGS["legend.handlelength"]), longest * width / _LEGEND_SIZE)


def _legend_columns(
    canvas: Canvas, labels: Sequence[str], most: int, handle: float
) -> tuple[list[str], int]:
    """Returns the texts of a legend, folded, and how many columns of them fit."""
    # In font sizes: 0.8 from a sample to its text, with a no-break space 1.2; 2 between columns.
    size = _LEGEND_SIZE
    room = 72 * canvas.get_figwidth() - 2 * size
    beside = (handle + 1.2) * size
    widest = room / (2 if canvas.get_figwidth() > COLUMN_WIDTH else 1) - beside - 2 * size
    texts = [fold(display_name(label), size, widest) for label in labels]
    widths = [max(text_width(line, size) for line in text.split("\n")) for text in texts]
    for count in range(min(most, len(texts)), 1, -1):
        columns = [max(part) + beside for part in np.array_split(widths, count)]
        if sum(columns) + 2 * size * (count - 1) <= room:
            return texts, count
    return texts, 1
