"""Figures of final results, in bars: held-out accuracy by scale, and the paper's numbers. Reached through
`figures`."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from groundr1.data.paper import V2_ARMS, V3_ARMS
from groundr1.figure_style import INK, MUTED, colours_of, finish, in_style, legend_above, new_figure

EVIDENCE_LABELS: Mapping[str, str] = {
    "small": "small\n< 10 %",
    "medium": "medium\n10–30 %",
    "large": "large\n> 30 %",
    "all": "all\nany area",
}


def plot_accuracy_by_scale(table: pd.DataFrame) -> Figure:
    """Held-out accuracy, and IoU where it is known, by scale of the annotated evidence, a bar a model.

    No counterpart in the paper, which reports benchmarks as a whole: our choice, because the bias is one of
    scale.

    Args:
        table: what `diagnostics.accuracy_by_scale` returns.

    Returns:
        A figure; whiskers are the table's intervals, numbers at the foot of the bars their heights. `table`
        is the argument.
    """
    titles = {"accuracy": "Answer accuracy (%)", "iou": "IoU of the box with the evidence"}
    panels = {name: title for name, title in titles.items() if name in table}
    models = list(table["model"].unique())
    parts = {model: table[table["model"] == model].set_index("scale") for model in models}
    first = parts[models[0]]
    parts = {model: part.reindex(first.index) for model, part in parts.items()}
    groups = [f"{EVIDENCE_LABELS[scale]}\nn = {first.loc[scale, 'count']}" for scale in first.index]
    with in_style():
        figure = new_figure(3.1, width=7.2 if len(panels) == 2 else 4.6)
        for axes, (name, title) in zip(
            np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True
        ):
            unit = 100.0 if name == "accuracy" else 1.0
            form = "{:.0f}" if name == "accuracy" else "{:.2f}"
            axes.set(title=title, ylim=(0, 1.02 * unit))
            _grouped_bars(axes, groups, _bars(parts, name, unit), colours_of(models), form)
        _bar_legend(figure, models)
    return finish(figure, table)


def plot_paper_results(results: pd.DataFrame, ours: pd.DataFrame | None = None) -> Figure:
    """The paper's own results, and ours beside them under their own title: two experiments, not one
    comparison.

    Stands for the paper's result tables: high-resolution benchmarks with base, GRPO and SRPO (v3), and
    Visual-CoT with base and GRPO (v2).

    Args:
        results: what `data.paper.paper_results` returns.
        ours: what `diagnostics.accuracy_by_scale` returns, for a first panel; left out, only the paper is
            drawn.

    Returns:
        A figure; `table` has the columns panel, benchmark, arm, value (per cent).
    """
    high = results[results["table"] == "High-resolution"].replace({"model": V3_ARMS})
    viscot = results[(results["table"] == "VisCoT") & results["model"].isin(V2_ARMS)].replace(
        {"model": V2_ARMS}
    )
    panels = {
        "Paper, 7B: high resolution (v3)": high.rename(columns={"model": "arm"}),
        "Paper, 7B: Visual-CoT (v2)": viscot.rename(columns={"model": "arm"}),
    }
    if ours is not None:
        own = ours.rename(columns={"scale": "benchmark", "model": "arm", "accuracy": "value"})
        numbers = ["value", "accuracy_low", "accuracy_high"]
        panels = {"This kit, tiny model: generated scenes": own.assign(**(100 * own[numbers])), **panels}
    drawn = pd.concat([table.assign(panel=title) for title, table in panels.items()], ignore_index=True)
    colours = colours_of(dict.fromkeys(drawn["arm"]))
    *bar_panels, dumbbell_title = panels
    with in_style():
        figure = new_figure(5.4 if len(bar_panels) > 1 else 3.4)
        left, right = figure.subfigures(1, 2, width_ratios=[1.15, 1])
        for axes, title in zip(
            left.subplots(len(bar_panels), 1, squeeze=False).flat, bar_panels, strict=True
        ):
            table = panels[title]
            groups = list(dict.fromkeys(table["benchmark"]))
            by_arm = {arm: part.set_index("benchmark") for arm, part in table.groupby("arm", sort=False)}
            parts = {arm: part.reindex(groups) for arm, part in by_arm.items()}
            form = "{:.1f}" if title.startswith("Paper") else "{:.0f}"
            axes.set(title=title, ylim=(0, 102), ylabel="accuracy (%)")
            _grouped_bars(axes, groups, _bars(parts, "value"), colours, form)
        axes = right.subplots()
        _dumbbells(axes, panels[dumbbell_title], colours)
        axes.set(title=dumbbell_title, xlabel="accuracy (%)")
        _bar_legend(figure, list(colours))
    return finish(figure, drawn[["panel", "benchmark", "arm", "value"]])


def plot_scale_distribution(before: pd.DataFrame, after: pd.DataFrame) -> Figure:
    """Share of small, medium and large evidence in a data set, before and after balancing.

    No counterpart in the paper: our choice, to show what a run was trained on.

    Args:
        before, after: what `data.balance.scale_distribution` returns.

    Returns:
        A figure; the legend has the numbers of rows. `table` has the columns data ("before", "after"), scale, count,
        share.
    """
    parts = {"before": before, "after": after}
    annotated = {name: table.dropna(subset="share").set_index("scale") for name, table in parts.items()}
    groups = [EVIDENCE_LABELS[scale] for scale in annotated["before"].index]
    colours = dict(zip(parts, (MUTED, colours_of(["SRPO"])["SRPO"]), strict=True))
    bars = {
        name: np.column_stack([100 * table["share"], np.full((len(table), 2), np.nan)])
        for name, table in annotated.items()
    }
    with in_style():
        figure = new_figure(2.8, width=4.6)
        axes = figure.subplots()
        axes.set(title="Evidence in the data (%)", ylim=(0, 102))
        _grouped_bars(axes, groups, bars, colours, "{:.0f}")
        labels = [
            f"{name}: {table['count'].sum():,} rows,\n{table.loc[table['share'].isna(), 'count'].sum():,} not annotated"
            for name, table in parts.items()
        ]
        legend_above(figure, [Patch(color=colour) for colour in colours.values()], labels)
    drawn = pd.concat([table.assign(data=name) for name, table in parts.items()], ignore_index=True)
    return finish(figure, drawn[["data", "scale", "count", "share"]])


def _bars(parts: Mapping[str, pd.DataFrame], name: str, unit: float = 1.0) -> dict[str, np.ndarray]:
    """Arm -> (groups, 3) heights, lower and upper ends in `unit`s; ends are NaN where the table has none."""
    ends = {"value": "accuracy"}.get(name, name)
    columns = [name, f"{ends}_low", f"{ends}_high"]
    return {arm: unit * part.reindex(columns=columns).to_numpy(dtype=float) for arm, part in parts.items()}


def _grouped_bars(
    axes: Axes, groups: Sequence[str], bars: Mapping[str, np.ndarray], colours: Mapping[str, str], form: str
) -> None:
    """Bars side by side in each group, their interval as a whisker, their height written at their foot.

    The axes' limits are set already.
    """
    width = 0.86 / len(bars)
    centres = np.arange(len(groups))
    for number, (arm, values) in enumerate(bars.items()):
        x = centres + (number - (len(bars) - 1) / 2) * width
        axes.bar(x, values[:, 0], width=0.92 * width, color=colours[arm])
        axes.vlines(x, values[:, 1], values[:, 2], color=INK, linewidth=1.1)
        for position, height in zip(x, values[:, 0], strict=True):
            share = np.nan_to_num(height) / axes.get_ylim()[1]
            # White on the bar; where it is too low for that, dark above it.
            above = {"y": 0.02, "color": "white"} if share > 0.09 else {"y": share + 0.02, "color": INK}
            # Without the leading zero, .35 fits the width of a bar.
            text = "–" if np.isnan(height) else form.format(height).removeprefix("0") or "0"
            axes.text(
                position, s=text, fontsize=7, transform=axes.get_xaxis_transform(), ha="center", **above
            )
    axes.set_xticks(centres, groups)
    axes.tick_params(axis="x", length=0)


def _dumbbells(axes: Axes, table: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """One row a benchmark, a dot an arm, a line between them; the average first, then by the trained arm's
    value."""
    arms = list(dict.fromkeys(table["arm"]))
    values = table.pivot(index="benchmark", columns="arm", values="value")[arms].dropna()
    values = values.sort_values(arms[-1], ascending=False)
    values = values.loc[sorted(values.index, key=lambda name: name != "AVG")]
    rows = np.arange(len(values))
    axes.hlines(rows, values.min(axis=1), values.max(axis=1), color=MUTED, linewidth=1.2, alpha=0.6)
    for arm in arms:
        axes.scatter(values[arm], rows, s=26, color=colours[arm], zorder=3)
    axes.set_yticks(rows, ["average" if name == "AVG" else name for name in values.index])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def _bar_legend(figure: Figure, arms: Sequence[str]) -> None:
    legend_above(figure, [Patch(color=colour) for colour in colours_of(arms).values()], list(arms))
