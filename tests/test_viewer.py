"""The viewer: what its controls show, what is seen without them, and that nobody's text becomes markup."""

import base64
import io
from html.parser import HTMLParser

import nbconvert
import nbformat
import pandas as pd
import pytest
from PIL import Image

from groundr1 import viewer
from groundr1.data.example import to_dataset
from groundr1.picture_figures import TRUTH_COLOUR
from groundr1.viewer import view_trajectories

HOSTILE = """<script>alert(1)</script><img src="http://example.org/x.png" onerror='alert(2)'>&"""


def example(number: int, **changed: object) -> dict:
    row = {
        "id": f"q{number}",
        "image": Image.new("RGB", (34, 34), (number, 0, 0)),
        "question": f"What is {number}?",
        "solution": ["key", "a key"],
        "kind": "exact",
        "boxes": [[10.0, 10.0, 20.0, 20.0]],
        "source": "print",
    }
    return row | changed


def prediction(number: int, model: str = "SRPO", **changed: object) -> dict:
    row = {
        "model": model,
        "prompt_id": f"q{number}",
        "scale": ("small", "large")[number % 2],
        "box": [0.0, 0.0, 17.0, 17.0],
        "iou": 0.25,
        "correct": 1.0,
        "turns": ["<box>[0, 0, 8, 8]</box>", f"<answer>key {number}</answer>"],
        "answer": f"key {number}",
    }
    return row | changed


@pytest.fixture(scope="module")
def dataset():
    return to_dataset([example(number) for number in range(4)])


@pytest.fixture
def shown(dataset):
    """Two models: SRPO has three hits and a miss; the base a hit, an invalid answer and one that nobody judged."""
    rows = [
        prediction(0, "base"),
        prediction(1, "base", correct=0.0, answer=None, box=None),
        prediction(2, "base", correct=None),
        *(prediction(number) for number in range(3)),
        prediction(3, correct=0.0),
    ]
    return view_trajectories(dataset, pd.DataFrame(rows), num_static=2)


class Page(HTMLParser):
    """Tags with their attributes, the pictures decoded, and the text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.pictures, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            assert name in ("style", "class", "src", "alt"), f"{name} on <{tag}>"
            if name == "src":
                head, _, body = value.partition(",")
                assert head == "data:image/png;base64", "a picture would be fetched"
                self.pictures.append(Image.open(io.BytesIO(base64.b64decode(body))))

    def handle_data(self, data):
        self.text += data


def page(shown) -> Page:
    return Page(shown.page.value)


def test_first_the_first_of_all_is_shown(shown):
    assert shown.position.max == 7
    text = page(shown).text
    for expected in ("1 of 7", "base, q0:", "hit (correct 1.00, iou 0.25)", "What is 0?", "[0, 0, 8, 8]"):
        assert expected in text
    assert "answer: key 0,\nsolution: key / a key" in text


def test_buttons_and_slider_move_and_stop_at_the_ends(shown):
    shown.previous.click()
    assert shown.position.value == 1
    shown.next.click()
    assert "2 of 7" in page(shown).text and "base, q1" in page(shown).text
    shown.position.value = 7
    assert "SRPO, q3" in page(shown).text
    shown.next.click()
    assert shown.position.value == 7


@pytest.mark.parametrize(
    ("chosen", "count", "first", "reason"),
    [
        ({"model": "SRPO"}, 4, "SRPO, q0", "a model"),
        ({"verdict": "miss"}, 1, "SRPO, q3", "invalid and unjudged answers are no misses"),
        ({"verdict": "invalid"}, 1, "base, q1", "no answer"),
        ({"verdict": "unscored"}, 1, "base, q2", "nobody judged it"),
        ({"scale": "large"}, 3, "base, q1", "a scale"),
        ({"model": "SRPO", "verdict": "hit", "scale": "large"}, 1, "SRPO, q1", "filters act together"),
        ({"model": "base", "verdict": "miss"}, 0, "No prediction passes", "nothing is left"),
    ],
)
def test_filters(shown, chosen, count, first, reason):
    shown.position.value = 5
    for name, value in chosen.items():
        shown.filters[name].value = value
    assert len(shown._passing) == count, reason
    assert shown.position.value == 1 and first in page(shown).text, reason
    for name in chosen:
        shown.filters[name].value = "all"
    assert shown.position.max == 7 and "base, q0" in page(shown).text


def test_menus_are_in_order_of_size_and_verdict(shown):
    assert shown.filters["scale"].options == ("all", "small", "large")
    assert shown.filters["verdict"].options == ("all", "hit", "miss", "invalid", "unscored")
    assert shown.filters["model"].options == ("all", "base", "SRPO")


def test_any_column_filters_and_validity_is_believed(dataset):
    rows = [prediction(number, set=f"set {number}", valid=number > 0) for number in range(2)]
    shown = view_trajectories(dataset, pd.DataFrame(rows), by="set")
    shown.filters["set"].value = "set 0"
    assert "invalid" in page(shown).text, "an answer that no scorer understood, though there is one"


def test_picture_has_the_true_and_the_drawn_box_and_the_crop_is_what_was_shown(dataset):
    shown = view_trajectories(dataset, pd.DataFrame([prediction(3)]))
    picture, crop = page(shown).pictures
    assert picture.size == crop.size == (viewer.SIDE, viewer.SIDE)
    colour = tuple(bytes.fromhex(TRUTH_COLOUR[1:]))
    # Ten pixels of the page are one of the picture.
    assert [picture.getpixel((x, 150)) for x in (101, 103, 150)] == [colour, (255, 255, 255), (3, 0, 0)]
    assert picture.getpixel((1, 100)) not in (colour, (3, 0, 0)), (
        "the drawn box begins at the picture's border"
    )
    assert "crop 1, 25 % of the picture" in page(shown).text


def test_every_box_of_several_is_drawn_with_its_crop(dataset):
    rows = [prediction(0, boxes=[[0, 0, 17, 17], None, [0, 0, 34, 17]]), prediction(1, boxes=None, box=None)]
    shown = view_trajectories(dataset, pd.DataFrame(rows))
    assert len(page(shown).pictures) == 3
    assert "crop 2, 50 % of the picture" in page(shown).text
    shown.next.click()
    assert len(page(shown).pictures) == 1, "no box, no crop"


def test_texts_of_models_and_data_sets_stay_texts():
    hostile = to_dataset([example(0, id=HOSTILE, question=HOSTILE, solution=[HOSTILE])])
    row = prediction(0, model=HOSTILE, prompt_id=HOSTILE, turns=[HOSTILE, HOSTILE], answer=HOSTILE)
    shown = view_trajectories(hostile, pd.DataFrame([row]))
    for text in (shown.page.value, shown.static_html()):
        found = Page(text)
        assert "script" not in found.tags
        assert len(found.pictures) == found.tags.count("img") == 2
        assert found.text.count(HOSTILE) == 7, "as it was written, each time"


def test_static_copy_shows_the_first_examples_without_fetching(shown):
    found = Page(shown.static_html())
    assert len(found.pictures) == 3, "picture and crop, and a picture without a box"
    assert "base, q0" in found.text and "base, q1" in found.text and "q2" not in found.text
    assert "http" not in shown.static_html()


def notebook_of(shown, monkeypatch, *, with_state: bool) -> nbformat.NotebookNode:
    """A notebook as papermill saves it after the viewer has shown itself."""
    displayed = []
    monkeypatch.setattr(viewer, "display", displayed.append)
    shown._ipython_display_()
    controls, copy = displayed
    bundles = [controls._repr_mimebundle_(), {"text/html": copy.data, "text/plain": "copy"}]
    outputs = [nbformat.v4.new_output("display_data", data=data) for data in bundles]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("viewer", outputs=outputs)])
    if with_state:
        state = {"state": controls.get_manager_state()["state"], "version_major": 2, "version_minor": 0}
        notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    return notebook


@pytest.mark.parametrize("with_state", [True, False])
def test_nbconvert_keeps_the_static_copy(shown, monkeypatch, with_state):
    notebook = notebook_of(shown, monkeypatch, with_state=with_state)
    html, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    body, _, rest = html.partition('<div class="groundr1-static">')
    copy = Page(rest.partition("<script")[0].partition("</main>")[0])
    assert "base, q0" in copy.text and "base, q1" in copy.text
    assert len(copy.pictures) == 3
    assert viewer.HIDE_COPY in body and "jp-OutputArea" in body, (
        "the area by which living controls hide the copy"
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "lack the columns"),
        ([prediction(9)], r"the data set lacks, \['q9'\]"),
        ([{**prediction(0), "scale": None}], None),
        ([{name: value for name, value in prediction(0).items() if name != "turns"}], r"\['turns'\]"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(dataset, rows, message):
    table = pd.DataFrame(rows)
    if message is None:
        assert view_trajectories(dataset, table).filters["scale"].options == ("all",), "no scale to filter by"
        return
    with pytest.raises(ValueError, match=message):
        view_trajectories(dataset, table)


def test_no_predictions_are_refused(dataset):
    with pytest.raises(ValueError, match="are none"):
        view_trajectories(dataset, pd.DataFrame([prediction(0)])[:0])
