"""Trajectories one at a time, in JupyterLab: filter them, step through them, see boxes, crops, turns and verdict.

    view_trajectories(heldout, predictions)          # as the last line of a cell

Below the controls stand the first examples once more as plain HTML, hidden where the controls are alive. Without a
kernel or a front end (papermill, nbconvert, a copy opened years later) they are what there is to see. Pictures are part
of the HTML, nothing is fetched; what models and data sets wrote is escaped: it is shown, never run.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets
import pandas as pd
from datasets import Dataset
from IPython.display import HTML, display
from PIL import Image, ImageDraw

from groundr1.boxes import relative_area
from groundr1.cropping import crop_evidence
from groundr1.diagnostics import SCALES
from groundr1.gallery import VERDICT_COLOURS, boxes_of, verdicts_of
from groundr1.picture_figures import TRUTH_COLOUR, picture_colours

__all__ = ["TrajectoryViewer", "view_trajectories"]

ALL = "all"
SIDE = 340  # pixels of the longer side of a picture or crop on the page
# A cell's outputs share one such area in JupyterLab and in nbconvert; without it the plain copy is merely shown twice.
HIDE_COPY = "<style>.jp-OutputArea:has(.groundr1-viewer) .groundr1-static { display: none }</style>"


class TrajectoryViewer:
    """What `view_trajectories` returns; it shows itself as the last value of a cell.

    Attributes:
        filters: drop-down menus by column: "model", "verdict" and the one that was asked for.
        previous, next: buttons. position: slider over the predictions that pass the filters, 1-based.
        page: the example that is shown, as HTML. controls: all of these, laid out.
    """

    def __init__(self, dataset: Dataset, predictions: pd.DataFrame, *, by: str, num_static: int):
        self._dataset = dataset
        self._place = {str(each): index for index, each in enumerate(dataset["id"])}
        self._table = predictions.assign(verdict=verdicts_of(predictions))
        self._colours = picture_colours(self._table["model"].unique())
        self._num_static = num_static
        self.filters = {column: self._menu(column) for column in ("model", "verdict", by)}
        self.previous = ipywidgets.Button(description="previous", icon="arrow-left")
        self.next = ipywidgets.Button(description="next", icon="arrow-right")
        self.position = ipywidgets.IntSlider(min=1, max=1, continuous_update=False)
        self.page = ipywidgets.HTML()
        self.previous.on_click(lambda button: self._step(-1))
        self.next.on_click(lambda button: self._step(1))
        self.position.observe(self._show, names="value")
        rows = [
            ipywidgets.HBox(list(self.filters.values())),
            ipywidgets.HBox([self.previous, self.next, self.position]),
            self.page,
        ]
        self.controls = ipywidgets.VBox(rows)
        self.controls.add_class("groundr1-viewer")
        self._filter()

    def _menu(self, column: str) -> ipywidgets.Dropdown:
        order = [*SCALES, *VERDICT_COLOURS]
        values = sorted(self._table[column].dropna().unique(), key=lambda each: (order + [each]).index(each))
        menu = ipywidgets.Dropdown(options=[ALL, *values], description=column)
        menu.observe(self._filter, names="value")
        return menu

    def _filter(self, change: object = None) -> None:
        """Go to the first prediction that passes the filters."""
        passing = pd.Series(True, index=self._table.index)
        for column, menu in self.filters.items():
            if menu.value != ALL:
                passing &= self._table[column] == menu.value
        self._passing = passing.to_numpy().nonzero()[0]
        self.position.max = max(1, len(self._passing))
        self.position.value = 1
        self._show()

    def _step(self, by: int) -> None:
        self.position.value = min(max(1, self.position.value + by), self.position.max)

    def _show(self, change: object = None) -> None:
        if not len(self._passing):
            self.page.value = "No prediction passes these filters."
            return
        place = f"<p>{self.position.value} of {len(self._passing)}</p>"
        self.page.value = place + self._example(self._passing[self.position.value - 1])

    def _example(self, number: int) -> str:
        prediction = self._table.iloc[number].to_dict()
        example = self._dataset[self._place[prediction["prompt_id"]]]
        return example_html(example, prediction, self._colours[prediction["model"]])

    def static_html(self) -> str:
        """The first examples as HTML that needs neither kernel nor network."""
        examples = [self._example(number) for number in range(min(self._num_static, len(self._table)))]
        return f'{HIDE_COPY}<div class="groundr1-static">{"<hr>".join(examples)}</div>'

    def _ipython_display_(self) -> None:
        display(self.controls)
        display(HTML(self.static_html()))


def view_trajectories(
    dataset: Dataset, predictions: pd.DataFrame, *, by: str = "scale", num_static: int = 3
) -> TrajectoryViewer:
    """Look through what one or several models answered: filter by model, verdict and one column more; step; slide.

    Args:
        dataset: rows as EXAMPLE_FEATURES.
        predictions: what `evaluation.evaluate` returns for it, models concatenated; may have the column `valid`.
        by: the third filter: "scale", "source", or any other column.
        num_static: examples that are shown without a kernel or a front end.

    Raises:
        ValueError: there are no predictions, they lack a column, or the data set lacks a question.
    """
    missing = [
        column for column in ("model", "prompt_id", "turns", "answer", by) if column not in predictions
    ]
    unknown = sorted(set(predictions.get("prompt_id", [])) - {str(each) for each in dataset["id"]})
    if missing or unknown or predictions.empty:
        what = f"lack the columns {missing}" if missing else "are none"
        what = f"are of questions that the data set lacks, {unknown[:3]} among them" if unknown else what
        raise ValueError(f"The predictions {what}; give what `evaluate` returned for this data set.")
    return TrajectoryViewer(dataset, predictions, by=by, num_static=num_static)


def example_html(example: Mapping[str, Any], prediction: Mapping[str, Any], colour: str) -> str:
    """One example as HTML: picture with true and drawn boxes, crops, turns, answer, solution, verdict.

    Args:
        example: row of a data set. prediction: its row of predictions, with the key "verdict". colour: of drawn boxes.
    """
    image, boxes = example["image"].convert("RGB"), boxes_of(prediction)
    drawn = [box for box in boxes if box is not None]
    legend = (
        f'<span style="color: {TRUTH_COLOUR}">annotated</span>, <span style="color: {colour}">drawn</span>'
    )
    pictures = [_figure(_outlined(image, {TRUTH_COLOUR: example["boxes"], colour: drawn}), legend)]
    for number, box in enumerate(drawn, start=1):
        area = f"{100 * relative_area(box, image.size):.2g} % of the picture"
        pictures.append(_figure(crop_evidence(image, box).image, f"crop {number}, {area}"))
    values = {name: prediction.get(name) for name in ("correct", "iou")}
    numbers = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if pd.notna(value))
    tint, block = VERDICT_COLOURS[prediction["verdict"]], "white-space: pre-wrap; margin: 4px 0"
    return "\n".join(
        [
            f"<p><b>{_text(prediction['model'])}</b>, {_text(prediction['prompt_id'])}:",
            f'<b style="color: {tint}">{prediction["verdict"]}</b> ({numbers})</p>',
            f'<p style="{block}">{_text(example["question"])}</p>',
            f'<div style="display: flex; flex-wrap: wrap; gap: 12px">{"".join(pictures)}</div>',
            *(f'<pre style="{block}">{_text(turn)}</pre>' for turn in prediction["turns"]),
            f"<p>answer: <b>{_text(prediction['answer'])}</b>,",
            f"solution: <b>{_text(' / '.join(example['solution']))}</b></p>",
        ]
    )


def _text(text: object) -> str:
    """Text of others, made harmless; an em dash where there is none."""
    return html.escape(text) if isinstance(text, str) else "—"


def _figure(image: Image.Image, caption: str) -> str:
    """A picture that is part of the HTML, `SIDE` pixels long, above its caption (HTML)."""
    buffer = io.BytesIO()
    _scaled(image).save(buffer, format="png")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return f'<figure style="margin: 0"><img alt="picture" src="{source}"><figcaption>{caption}</figcaption></figure>'


def _scaled(image: Image.Image) -> Image.Image:
    scale = SIDE / max(image.size)
    size = [max(1, round(scale * side)) for side in image.size]
    return image.resize(size, Image.Resampling.LANCZOS)


def _outlined(image: Image.Image, outlines: Mapping[str, Sequence[Sequence[float]]]) -> Image.Image:
    """The picture at the size of the page, with boxes (image frame) in their colours, each on a white rim."""
    scaled = _scaled(image)
    draw, scale = ImageDraw.Draw(scaled), scaled.width / image.width
    for colour, boxes in outlines.items():
        for corners in boxes:
            x1, y1, x2, y2 = (scale * corner for corner in corners)
            for tint, width in (("white", 5), (colour, 3)):
                # At least one pixel: Pillow refuses a rectangle that ends before it begins.
                draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=tint, width=width)
    return scaled
