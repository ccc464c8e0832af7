"""A few hostile inputs for every target with each run of the tests, the same ones each time; `make fuzz` gives many."""

import pytest
from hypothesis import given, settings

from fuzz.__main__ import FUZZING, fuzz, main
from fuzz.targets import TARGETS, Target, attempt

INPUTS = 60


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_inputs_meet_documented_errors_only(name: str):
    taken = []

    @settings(FUZZING, max_examples=INPUTS, derandomize=True)
    @given(TARGETS[name].strategy)
    def run(value: object) -> None:
        taken.append(attempt(name, value)[0])

    run()
    assert len(taken) >= INPUTS // 2 and any(taken), (
        "inputs that are all refused test nothing but the refusal"
    )


def test_inputs_are_counted_and_a_failure_is_reported(monkeypatch, capsys):
    counts = fuzz("boxes", 30, first_seed=1)
    assert counts["inputs"] == 30 and 0 < counts["taken"] <= 30

    def never_large(value: object) -> bool:
        assert value[0].width < 50, "wide"
        return True

    monkeypatch.setitem(TARGETS, "boxes", Target(never_large, TARGETS["boxes"].strategy, 1))
    monkeypatch.setattr("fuzz.__main__._limit_memory", lambda: None)
    monkeypatch.setattr("sys.argv", ["fuzz", "--target", "boxes", "--seed", "1", "--inputs", "200"])
    assert main() == 1
    printed = capsys.readouterr().out
    assert "find it again: --target boxes --seed 1" in printed and printed.rstrip().endswith(
        "FUZZ failed=boxes"
    )


def test_a_slow_input_is_a_failure(monkeypatch):
    def slow(value: object) -> bool:
        return sum(range(3_000_000)) > 0

    monkeypatch.setitem(TARGETS, "boxes", Target(slow, TARGETS["boxes"].strategy, 1, seconds=0.001))
    with pytest.raises(AssertionError, match="one input took .* s; 0.001 are allowed for boxes"):
        attempt("boxes", None)
