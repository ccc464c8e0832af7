"""One look for all figures, and how they are saved: a picture and the numbers behind it.

Figures never touch pyplot's global state: they are made, drawn and saved under their own style, whatever the
user's matplotlib settings are, and show themselves as the last value of a notebook cell.
"""

import io
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

# Blue, orange and grey stay apart for every common colour blindness and in print; so do the three steps of
# one dark-to-light ramp for the scales, which have an order.
ARM_COLOURS: Mapping[str, str] = {"base": "#8a8f98", "GRPO": "#e07b00", "SRPO": "#0072b2"}
SCALE_COLOURS: Mapping[str, str] = {"small": "#3b0f70", "medium": "#c03a76", "large": "#f5a05a"}
SCALE_MARKERS: Mapping[str, str] = {"small": "o", "medium": "s", "large": "^"}
SCALE_LABELS: Mapping[str, str] = {
    "small": "small, < 10 %",
    "medium": "medium, 10–30 %",
    "large": "large, > 30 %",
}
OTHER_COLOURS = ("#009e73", "#cc79a7", "#56b4e9", "#6b4c9a", "#a08000")
INK, MUTED, GRID = "#22262b", "#6a7079", "#e3e6ea"

WIDTH = 7.2  # inches: the text width of a page; at 200 dots an inch 1440 pixels
FILE_DPI, SCREEN_DPI = 200, 110

_STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same bytes
    "font.size": 8.5,
    "text.parse_math": False,  # texts are those of files: "$" is a sign like any other
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 6,
    "axes.labelsize": 8.5,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.6,
    "figure.facecolor": "white",
    "figure.dpi": SCREEN_DPI,
}


def in_style() -> AbstractContextManager[None]:
    """The context in which figures are made and drawn: matplotlib's defaults and the kit's style on top."""
    return style.context(["default", dict(_STYLE)])


class KitFigure(Figure):
    """A matplotlib figure that keeps the kit's style wherever it is drawn, and the numbers it shows in
    `table`."""

    table: pd.DataFrame

    def draw(self, renderer: Any) -> None:
        """Draw under the kit's style: matplotlib makes some artists, ticks for one, only now."""
        with in_style():
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        return png_bytes(self, dpi=SCREEN_DPI)


def new_figure(height: float, *, width: float = WIDTH) -> KitFigure:
    """An empty figure of `width` x `height` inches whose panels and labels make room for one another."""
    figure = KitFigure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06, wspace=0.03, hspace=0.04)
    return figure


def finish(figure: KitFigure, table: pd.DataFrame) -> KitFigure:
    """Attach the numbers and settle the layout, which matplotlib would otherwise move a little at every drawing."""
    figure.table = table
    figure.set_dpi(FILE_DPI)
    for _ in range(2):
        figure.draw_without_rendering()
    figure.set_dpi(SCREEN_DPI)
    figure.set_layout_engine("none")
    return figure


def png_bytes(figure: Figure, *, dpi: int = FILE_DPI) -> bytes:
    """The figure as PNG without date or software version: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def save_figure(
    figure: Figure, name: str, *, data: pd.DataFrame | None = None, folder: str | Path = "figures"
) -> Figure:
    """Write <folder>/<name>.png and <folder>/<name>.csv, the numbers behind it.

    Args:
        figure: one of `groundr1.figures`, or any other matplotlib figure.
        name: file name without suffix: letters, digits, "_" and "-".
        data: the numbers behind the figure; left out, the table that the figure function drew.
        folder: made if it is not there.

    Returns:
        `figure`, so that a notebook cell shows it. Both files have the same bytes for the same figure and
        data; numbers have six significant digits, so that they do not change with the machine's last bit.

    Raises:
        ValueError: `name` is not a file name, or there are no numbers behind the figure.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(
            f"A figure's name is letters, digits, '_' and '-', without a suffix; {name!r} is not."
        )
    table = getattr(figure, "table", None) if data is None else data
    if table is None or not len(table):
        raise ValueError(f"Figure {name!r} has no numbers behind it; give them as data=DataFrame.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.png").write_bytes(png_bytes(figure))
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="\n")
    return figure


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each arm: the kit's own for base, GRPO and SRPO (also within a longer name), others in
    turn."""
    others = iter(OTHER_COLOURS * 5)
    colours: dict[str, str] = {}
    for name in names:
        known = [colour for arm, colour in ARM_COLOURS.items() if arm.lower() in str(name).lower()]
        free = [colour for colour in known if colour not in colours.values()]
        colours[name] = free[0] if free else next(others)
    return colours


def per_cent_axis(axes: Axes, which: str = "y") -> None:
    """Label an axis of fractions in per cent."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def legend_above(figure: Figure, handles: list[Any], labels: list[str], **options: Any) -> None:
    """One legend for the whole figure, in its own row above the panels, where it covers no data."""
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(labels), columnspacing=1.8, **options
    )
