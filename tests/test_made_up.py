"""Made-up questions: in the official form, the same for the same seed, and read by our parser as they were meant."""

import pytest

from groundr1.data.items import items_of
from groundr1.evaluation.disagreement import PARSERS, TRUTH
from groundr1.evaluation.made_up import made_up_disagreement, made_up_rows


@pytest.mark.parametrize(("benchmark", "kind"), [("seed", "choice"), ("pope", "yes_no")])
def test_rows_are_in_the_official_form_and_repeat(benchmark, kind):
    rows = made_up_rows(benchmark, 40, seed=3)
    assert rows == made_up_rows(benchmark, 40, seed=3) != made_up_rows(benchmark, 40, seed=4)
    items = [item for row in rows for item in items_of(benchmark, row)]
    assert len({item.id for item in items}) == 40 and {item.kind for item in items} == {kind}
    assert len({item.solution for item in items}) == (4 if kind == "choice" else 2), "every solution occurs"
    if kind == "choice":
        assert all(len(set(item.options.values())) == 4 for item in items)


def test_other_benchmarks_are_not_made_up():
    with pytest.raises(ValueError, match="for seed and pope only"):
        made_up_rows("mmvet", 1, seed=0)


def test_parsers_disagree_and_ours_is_nearest_to_what_was_meant():
    table, styles = made_up_disagreement(num=200, seed=0)
    assert table.index.tolist() == [(form, name) for form in ("seed", "pope") for name in (*PARSERS, TRUTH)]
    assert (table.loc[(slice(None), list(PARSERS)), "count"] == 200).all()
    for form in ("seed", "pope"):
        wrong = table.loc[form, "differs from meant"]
        assert wrong[TRUTH] == 0 and wrong["groundr1"] < min(wrong[["lmms", "vlmeval", "gr"]])
        assert styles.loc[form, "count"].sum() == 200
    again, _ = made_up_disagreement(num=200, seed=0)
    assert again.equals(table)
