"""The figures of the kit, one function each; `save_figure` writes a picture and the numbers behind it.

Every function takes tables (or examples), returns a figure, and leaves what it drew as a table in
`figure.table`. None needs a model. The paper is Ground-R1 (arXiv 2505.20272); each docstring says which of
its figures it stands for.

    >>> figure = plot_training_curves({"GRPO": metrics, "SRPO": other})        # doctest: +SKIP
    >>> save_figure(figure, "training_curves", data=figure.table)              # doctest: +SKIP
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from groundr1.bar_figures import plot_accuracy_by_scale as plot_accuracy_by_scale  # one door to all figures
from groundr1.bar_figures import plot_paper_results as plot_paper_results
from groundr1.bar_figures import plot_scale_distribution as plot_scale_distribution
from groundr1.diagnostics import EDGES, SCALES, by_scale
from groundr1.figure_style import (
    MUTED,
    SCALE_COLOURS,
    SCALE_LABELS,
    SCALE_MARKERS,
    colours_of,
    finish,
    in_style,
    legend_above,
    new_figure,
    per_cent_axis,
)
from groundr1.figure_style import save_figure as save_figure
from groundr1.gallery import plot_gallery as plot_gallery
from groundr1.picture_figures import plot_scenes as plot_scenes
from groundr1.picture_figures import plot_trajectory as plot_trajectory
from groundr1.picture_figures import plot_worst as plot_worst

# metrics.csv column -> panel title; the order is that of the paper's figure.
TRAINING_PANELS: Mapping[str, str] = {
    "reward_format": "Format reward",
    "reward_answer": "Answer reward",
    "response_length": "Response length (generated tokens)",
    "giou_score": "GIoU score (logged, never rewarded)",
}
BIAS_ROWS: Mapping[str, str] = {
    "reward": "mean reward",
    "advantage": "mean advantage",
    "share": "share of boxes",
    "iou": "IoU with the evidence",
}
LETTERS = 40  # of a set's name beside an axis
MOST_SETS = 40  # rows of data in a figure; the data set card lists as many


def plot_training_curves(metrics: Mapping[str, pd.DataFrame], *, smooth: int | None = None) -> Figure:
    """Format reward, answer reward, response length and GIoU score over training, one line an arm.

    Stands for the four training curves of the paper (v2; there the format reward has weight 2 and runs to 2,
    here all rewards are in [0, 1]).

    Args:
        metrics: arm name -> metrics table with the columns step, reward_format, reward_answer,
            response_length (tokens), giou_score ((GIoU + 1) / 2). Steps where a value is missing are left out
            of its line.
        smooth: steps in the centred mean that the strong line shows, a twenty-fifth of the run when not
            given; the faint line is every step.

    Returns:
        A figure; `table` has the columns arm, metric, step, value, smoothed.
    """
    lines = [_curve(arm, name, table, smooth) for arm, table in metrics.items() for name in TRAINING_PANELS]
    drawn = pd.concat([line for line in lines if len(line)], ignore_index=True)
    colours = colours_of(metrics)
    with in_style():
        figure = new_figure(4.6)
        panels = dict(zip(TRAINING_PANELS, figure.subplots(2, 2, sharex=True).flat, strict=True))
        for (arm, name), line in drawn.groupby(["arm", "metric"], sort=False):
            panels[name].plot(line["step"], line["value"], color=colours[arm], alpha=0.22, linewidth=0.8)
            panels[name].plot(line["step"], line["smoothed"], color=colours[arm])
        for name, axes in panels.items():
            axes.set_title(TRAINING_PANELS[name])
            axes.margins(x=0.02)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
            if name.startswith("reward"):
                _unit_limits(axes, drawn.loc[drawn["metric"] == name, "value"])
        figure.supxlabel(
            "training step (faint: every step, strong: mean of neighbouring steps)", fontsize=8.5
        )
        legend_above(figure, [Line2D([], [], color=colours[arm]) for arm in metrics], list(metrics))
    return finish(figure, drawn)


def plot_scale_bias(
    rollouts: Mapping[str, pd.DataFrame],
    *,
    area: str = "relative_area",
    window: int | None = None,
    seed: int = 0,
) -> Figure:
    """Reward, advantage, share of boxes and IoU by evidence scale over training; a column an arm, a row a
    quantity.

    Stands for the paper's diagnosis of scale-driven bias (v3): under GRPO large boxes earn most, small ones
    have negative advantage, and the share of boxes moves to large.

    Args:
        rollouts: arm name -> rollout table (columns as `diagnostics.by_scale` needs them).
        area: the column that sorts trajectories into scales, as in `by_scale`. By "true_area" only reward and IoU
            are drawn: the other two say nothing then.
        window: steps pooled into a point, a fifteenth of the run when not given.
        seed: of the bootstrap.

    Returns:
        A figure; bands are 95 % bootstrap intervals over prompts, absent where a scale has fewer than two
        prompts. `table` is that of `by_scale` with the arm as first column.
    """
    tables = []
    for arm, table in rollouts.items():
        steps = int(table["step"].max() - table["step"].min()) + 1
        scales = by_scale(table, area=area, window=window or max(1, steps // 15), seed=seed)
        tables.append(scales.assign(arm=arm))
    drawn = pd.concat(tables, ignore_index=True)
    drawn = drawn[["arm", *(name for name in drawn if name != "arm")]]
    # By annotation a whole group has one scale: its advantages add up to zero, and its share is one of questions.
    shown = {name: BIAS_ROWS[name] for name in (BIAS_ROWS if area == "relative_area" else ("reward", "iou"))}
    with in_style():
        figure = new_figure(0.8 + 1.7 * len(shown), width=max(4.2, 3.6 * len(rollouts)))
        grid = figure.subplots(len(shown), len(rollouts), sharex=True, sharey="row", squeeze=False)
        for column, arm in enumerate(rollouts):
            grid[0, column].set_title(arm)
            for row, name in enumerate(shown):
                _scale_lines(grid[row, column], drawn[drawn["arm"] == arm], name)
        for row, (name, label) in enumerate(shown.items()):
            grid[row, 0].set_ylabel(label)
            if name == "share":
                per_cent_axis(grid[row, 0])
            if name in ("share", "iou"):
                top = max(axes.get_ylim()[1] for axes in grid[row])
                grid[row, 0].set_ylim(-0.02, 1.02 if name == "share" or drawn["iou"].isna().all() else top)
        figure.align_ylabels(grid[:, 0])
        figure.supxlabel("training step", fontsize=8.5)
        handles = [_scale_handle(scale) for scale in SCALES]
        what = "box" if area == "relative_area" else "annotated evidence"
        legend_above(
            figure, handles, list(SCALE_LABELS.values()), title=f"area of the {what}, share of the picture"
        )
    return finish(figure, drawn)


def plot_area_distribution(
    scene_areas: Mapping[str, Sequence[float]],
    viscot_quantiles: Mapping[str, Sequence[float]],
    *,
    label: str = "generated scenes",
) -> Figure:
    """How large the evidence is: generated scenes, or other data, beside the sets of Visual-CoT, on a logarithmic axis.

    No counterpart in the paper: our choice, to show that the generated world has the evidence sizes of the
    real one.

    Args:
        scene_areas: kind of scene, or set -> relative areas of its evidence, fractions in (0, 1]. Of more than 40 the
            largest are drawn, and the others as one.
        viscot_quantiles: Visual-CoT set -> its quantiles at evenly spaced levels from 0 to 1, as
            `data.load_area_quantiles` returns them.
        label: what the data in `scene_areas` are.

    Returns:
        A figure: dot the median, thick line the middle half, thin line 5 % to 95 %. `table` has the columns
        group, name, q05, q25, q50, q75, q95.
    """
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    rows = []
    for name, quantiles in viscot_quantiles.items():
        known = np.linspace(0.0, 1.0, len(quantiles))
        rows.append(["Visual-CoT", name, *np.interp(levels, known, np.asarray(quantiles, dtype=float))])
    for name, areas in _largest(scene_areas).items():
        rows.append([label, name, *np.quantile(np.asarray(areas, dtype=float), levels)])
    drawn = pd.DataFrame(rows, columns=["group", "name", "q05", "q25", "q50", "q75", "q95"])
    drawn = drawn.sort_values(
        ["group", "q50"], key=lambda it: it == "Visual-CoT" if it.name == "group" else it, ignore_index=True
    )
    with in_style():
        figure = new_figure(0.9 + 0.2 * (len(drawn) + 1))
        axes = figure.subplots()
        _shade_scales(axes)
        # One empty row between the two groups; the first row is at the top.
        heights = np.arange(len(drawn)) + (drawn["group"] == "Visual-CoT").to_numpy()
        colours = np.where(drawn["group"] == "Visual-CoT", MUTED, colours_of(["SRPO"])["SRPO"])
        axes.hlines(heights, drawn["q05"], drawn["q95"], colors=colours, linewidth=1.2)
        axes.hlines(heights, drawn["q25"], drawn["q75"], colors=colours, linewidth=4.5)
        axes.scatter(drawn["q50"], heights, s=26, color="white", edgecolor=colours, linewidth=1.6, zorder=3)
        axes.set(xscale="log", xlim=(1e-4, 1.0), xlabel="area of the evidence, share of the picture")
        axes.set_ylim(heights.max() + 0.7, -0.7)
        axes.set_yticks(heights, [_cut(name) for name in drawn["name"]])
        axes.set_xticks([1e-4, 1e-3, 1e-2, 1e-1, 1.0], ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
        axes.grid(False)
        axes.tick_params(axis="y", length=0)
        shown = {label: colours_of(["SRPO"])["SRPO"], "Visual-CoT (150 rows a set)": MUTED}
        handles = [Line2D([], [], color=colour, linewidth=4.5) for colour in shown.values()]
        legend_above(figure, handles, list(shown))
    return finish(figure, drawn)


def _largest(areas: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """The sets of most areas in their order, and the others as one: a source may be an address, another in each row."""
    kept = set(sorted(areas, key=lambda name: -len(areas[name]))[:MOST_SETS])
    others = [np.asarray(each, dtype=float) for name, each in areas.items() if name not in kept]
    shown = {name: each for name, each in areas.items() if name in kept}
    return shown | {f"{len(others):,} others": np.concatenate(others)} if others else shown


def _cut(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"


def _curve(arm: str, name: str, table: pd.DataFrame, smooth: int | None) -> pd.DataFrame:
    """One arm's line in one panel, long form; no rows where the value was never logged."""
    missing = [column for column in ("step", name) if column not in table]
    if missing:
        raise ValueError(
            f"The metrics of {arm!r} lack the columns {missing}; they have {list(table.columns)}."
        )
    line = table[["step", name]].dropna().rename(columns={name: "value"})
    window = smooth or max(1, round(len(line) / 25))
    smoothed = line["value"].rolling(window, center=True, min_periods=1).mean()
    return line.assign(arm=arm, metric=name, smoothed=smoothed)[
        ["arm", "metric", "step", "value", "smoothed"]
    ]


def _unit_limits(axes: Axes, values: pd.Series) -> None:
    """Show the whole unit interval, unless that would flatten curves that use little of it."""
    low, high = float(values.min()), float(values.max())
    if high - low > 0.3:
        axes.set_ylim(min(-0.02, low), max(1.02, high))


def _scale_lines(axes: Axes, table: pd.DataFrame, name: str) -> None:
    """One line a scale with its interval band, at the middle of each window."""
    if name == "advantage":
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
    for scale in SCALES:
        part = table[table["scale"] == scale]
        middle = (part["step"] + part["last_step"]) / 2
        colour = SCALE_COLOURS[scale]
        axes.plot(middle, part[name], color=colour, marker=SCALE_MARKERS[scale], markersize=3.2)
        axes.fill_between(
            middle, part[f"{name}_low"], part[f"{name}_high"], color=colour, alpha=0.16, linewidth=0
        )
    axes.margins(x=0.03)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 5, 10]))
    if table[name].isna().all():
        axes.text(0.5, 0.5, "no annotated evidence", transform=axes.transAxes, ha="center", color=MUTED)


def _scale_handle(scale: str) -> Line2D:
    return Line2D([], [], color=SCALE_COLOURS[scale], marker=SCALE_MARKERS[scale])


def _shade_scales(axes: Axes) -> None:
    """Mark the three scales behind an axis of relative areas, and name them along its top."""
    limits = [1e-4, *EDGES, 1.0]
    for scale, low, high in zip(SCALES, limits[:-1], limits[1:], strict=True):
        axes.axvspan(low, high, color=SCALE_COLOURS[scale], alpha=0.07, linewidth=0)
        axes.text(
            float(np.sqrt(low * high)), 1.01, scale, transform=axes.get_xaxis_transform(), ha="center", va="bottom",
            color=SCALE_COLOURS[scale] if scale != "large" else "#b5651d",
        )  # fmt: skip
