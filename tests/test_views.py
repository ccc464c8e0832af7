"""Budgets of pixels: the benchmark's unless asked otherwise, the tiny model's own always; batches to match."""

from types import SimpleNamespace

import pytest

from groundr1.data.benchmarks import BENCHMARKS
from groundr1.evaluation import views
from groundr1.evaluation.views import fitting_batch, processor_for
from groundr1.model import load_processor

OWN = 12845056  # of Qwen2.5-VL


@pytest.fixture
def loaded(monkeypatch) -> list[int | None]:
    """Pixels that a large model's processor was loaded with."""
    asked: list[int | None] = []

    def load(model, max_pixels=None):
        asked.append(max_pixels)
        tokenizer = SimpleNamespace(get_vocab=lambda: {"<tool>": 0})
        size = {"longest_edge": max_pixels or OWN}
        return SimpleNamespace(tokenizer=tokenizer, image_processor=SimpleNamespace(size=size))

    monkeypatch.setattr(views, "load_processor", load)
    return asked


# Benchmark, what is asked for, pixels that come of it, examples together where 64 are right at 401408.
BUDGETS = [
    ("pope", None, 401408, 64),
    ("hrbench", None, BENCHMARKS["hrbench"].max_pixels, 2),
    ("pope", 100352, 100352, 64),
    ("pope", 802816, 802816, 32),
    ("pope", "model", OWN, 2),
    ("pope", 10**9, 10**9, 1),
]


@pytest.mark.parametrize(("benchmark", "asked", "pixels", "together"), BUDGETS)
def test_the_budget_is_taken_and_said(loaded, caplog, benchmark, asked, pixels, together) -> None:
    caplog.set_level("INFO")
    processor = processor_for("large", benchmark, asked)
    assert processor.image_processor.size["longest_edge"] == pixels
    assert f"{benchmark}: views of at most {pixels} pixels" in caplog.text
    assert loaded == ([None] if asked == "model" else [None, pixels])
    assert fitting_batch(processor) == together


@pytest.mark.parametrize("asked", [None, "model", 401408])
def test_the_tiny_model_keeps_its_own_view(caplog, asked) -> None:
    caplog.set_level("INFO")
    own = load_processor("tiny").image_processor.size
    processor = processor_for("tiny", "hrbench", asked)
    assert processor.image_processor.size == own and "The tiny model keeps its own view" in caplog.text
    assert fitting_batch(processor, 8) == 8
