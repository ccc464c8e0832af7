"""Benchmarks found under a data root, answered by models and scored: everything that notebook 05 shows of them."""

import dataclasses

import pandas as pd
import pytest
from small_benchmarks import LABELS, write_data_root

from groundr1.bootstrap import bootstrap_interval
from groundr1.data.benchmarks import find_benchmarks
from groundr1.data.paper import paper_results
from groundr1.evaluation import suite as module
from groundr1.evaluation.judge import Judgement
from groundr1.evaluation.suite import (
    disagreements,
    evaluate_benchmarks,
    overview,
    reports_of,
    scale_table,
    scores_of,
)
from groundr1.evaluation.tables import comparison, load_reports, paired_gains

MODELS = {"base": "tiny", "SRPO": "tiny"}
LIMITS = {"max_turn_tokens": 24}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("suite")


@pytest.fixture(scope="module")
def found(place):
    return find_benchmarks(write_data_root(place / "data"))


@pytest.fixture(scope="module")
def suite(place, found):
    """The built-in model under two names."""
    return evaluate_benchmarks(found, MODELS, place / "out", batch_size=8, **LIMITS)


def test_every_benchmark_is_answered_by_every_model(suite):
    assert [each.label for each in suite] == list(LABELS)
    for each in suite:
        counts = each.predictions["model"].value_counts(sort=False)
        assert counts.to_dict() == dict.fromkeys(MODELS, len(each.dataset)), each.label
        assert each.predictions["valid"].dtype == bool and each.predictions["cluster"].notna().all()
    clusters = {each.label: each.predictions["cluster"].nunique() for each in suite}
    assert clusters == {"viscot": 4, "mme": 4, "pope": 2, "hrbench_4k": 2, "refcoco": 4}


def test_what_was_set_aside_or_repaired_is_counted(suite):
    table = overview(suite).set_index("benchmark")
    assert table["questions"].to_dict() == {"viscot": 4, "mme": 8, "pope": 12, "hrbench_4k": 8, "refcoco": 8}
    assert table["set_aside"].to_dict() == {**dict.fromkeys(LABELS, 0), "viscot": 1}
    assert "no picture" in table.loc["viscot", "reason"] and table.loc["pope", "reason"] == ""
    assert table.loc["viscot", "repaired"] == "1 cut to the picture"
    assert table["boxes"].tolist() == [4, 0, 0, 0, 8]
    assert (table["failed"] == 0).all()
    gone = dataclasses.replace(suite[1], predictions=suite[1].predictions[1:])
    assert overview([gone]).loc[0, "failed"] == 1
    assert table.loc["mme", ["title", "form", "file"]].tolist() == ["MME", "tsv", "MME.tsv"]


def test_reports_make_the_comparison_and_lie_in_the_folders(place, suite):
    reports = reports_of(suite)
    assert {model: list(of_model) for model, of_model in reports.items()} == dict.fromkeys(
        MODELS, list(LABELS)
    )
    table = comparison(reports)
    assert table["SRPO"].str.contains(r"(+0.0)", regex=False).all(), "the same model under another name"
    assert table.loc[("Visual-CoT", "DocVQA, rule"), "questions"] == "1"
    pd.testing.assert_frame_equal(comparison(load_reports(place / "out")), table)


def test_gains_are_paired_over_the_scored_rows(suite):
    gains = paired_gains(scores_of(suite))
    assert gains["benchmark"].tolist() == list(LABELS)
    assert gains["count"].tolist() == [4, 8, 12, 8, 8]
    assert (gains["difference"] == 0).all() and not gains["unpaired"].any()


def test_scales_are_those_of_benchmarks_with_boxes_over_clusters(suite):
    table = scale_table(suite)
    assert table["benchmark"].unique().tolist() == ["viscot", "refcoco"]
    assert table.groupby("benchmark")["model"].unique().str.join(" ").tolist() == ["base SRPO"] * 2
    refcoco = suite[-1].predictions.query("model == 'base'").reset_index(drop=True)
    scores = pd.Series([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0])  # both expressions of an object alike
    changed = dataclasses.replace(suite[-1], predictions=refcoco.assign(correct=scores))
    everything = scale_table([changed]).query("scale == 'all'").iloc[0]
    expected = bootstrap_interval(scores, clusters=refcoco["cluster"])
    assert (everything["accuracy_low"], everything["accuracy_high"]) == expected
    assert expected != bootstrap_interval(scores), "expressions of one object are no independent samples"


def test_parsers_are_compared_on_the_predictions(suite):
    table = disagreements(suite, "SRPO")
    assert table.index.get_level_values("benchmark").unique().tolist() == list(LABELS)
    for each in suite:
        right = table.loc[(each.label, "groundr1"), "right"]
        assert right == pytest.approx(100 * each.scored["SRPO"]["score"].mean()), (
            "by the same rules, in the same frame"
        )
    assert "no Visual-CoT" in table.loc[("viscot", "lmms"), "note"]


def test_the_same_call_answers_nothing_twice(place, found, suite, monkeypatch):
    monkeypatch.setattr("groundr1.evaluation.runner.ground_and_answer", None)  # calling it would fail
    again = evaluate_benchmarks(found, MODELS, place / "out", batch_size=8, **LIMITS)
    for old, new in zip(suite, again, strict=True):
        pd.testing.assert_frame_equal(old.predictions, new.predictions)
        assert old.reports == new.reports


def test_another_parser_makes_other_reports_and_leaves_out_what_it_cannot_score(place, found, suite, caplog):
    other = evaluate_benchmarks(found, MODELS, place / "out", parser="lmms", **LIMITS)
    reports = reports_of(other)
    assert list(reports["base"]) == [label for label in LABELS if label != "viscot"]
    assert {report["parser"] for report in reports["SRPO"].values()} == {"lmms"}
    assert "viscot has no line under the parser 'lmms'" in caplog.text
    pd.testing.assert_frame_equal(other[0].predictions, suite[0].predictions)


class Judge:
    """Gives everything half a point."""

    def ask(self, questions):
        return [Judgement(0.5, "half") for _ in questions]

    def describe(self):
        return {"model": "half"}


def test_a_judge_is_asked_where_there_is_something_to_judge(place, found):
    judged = evaluate_benchmarks(found, {"base": "tiny"}, place / "judged", judge=Judge(), **LIMITS)
    table = comparison(reports_of(judged))
    assert table.loc[("Visual-CoT", "DocVQA, judge"), "base"] == "50.0"
    assert ("Visual-CoT", "DocVQA, rule") in table.index
    assert [each.label for each in judged if "judge" in each.reports["base"]] == ["viscot"]


def test_a_part_is_called_a_part(place, found):
    """As is, a trial of a few rows would block the folder of the whole, and its scores pass for the benchmark's."""
    few = evaluate_benchmarks(found[2:4], {"base": "tiny"}, place / "few", limit=4, **LIMITS)
    assert [each.label for each in few] == ["pope_first_4", "hrbench_4k_first_4"]
    assert [len(each.dataset) for each in few] == [4, 4]
    titles = (
        comparison(reports_of(few), paper_results()).query("base != '—'").index.get_level_values(0).unique()
    )
    assert titles.tolist() == ["POPE (pope_first_4)", "HR-Bench (hrbench_4k_first_4)"]
    assert set(load_reports(place / "few")["base"]) == {each.label for each in few}


def test_pictures_have_the_budget_of_their_benchmark(place, found, monkeypatch):
    asked = []

    def evaluated(model, processor, dataset, *, out, **options):
        asked.append((processor, options["batch_size"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "processor_for", lambda path, benchmark: (path, benchmark))
    monkeypatch.setattr(module, "fitting_batch", lambda processor, batch_size: batch_size // 2)
    monkeypatch.setattr(module, "evaluate", evaluated)
    with pytest.raises(KeyboardInterrupt):
        evaluate_benchmarks(found[3:], {"base": "tiny"}, place / "none", batch_size=64)
    assert asked == [(("tiny", "hrbench"), 32)]


def test_faults_are_found_before_a_model_is_loaded(place, found, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "load_model", None)
    with pytest.raises(ValueError, match="parser='best' is unknown"):
        evaluate_benchmarks(found, MODELS, tmp_path, parser="best")
    nowhere = dataclasses.replace(found[0], image_root=tmp_path)
    with pytest.raises(ValueError, match="Not one row of .*viscot.jsonl can be used.*no picture"):
        evaluate_benchmarks([found[2], nowhere], MODELS, tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_benchmarks_there_is_nothing_to_show(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "load_model", None)
    assert evaluate_benchmarks([], MODELS, tmp_path) == []
    assert reports_of([]) == scores_of([]) == {}
    assert overview([]).empty and scale_table([]).empty and disagreements([], "base").empty
    assert paired_gains({}).empty
