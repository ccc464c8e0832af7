"""The same checks under a fuzzer that is guided by coverage, for as long as one likes. Opt-in, because it is another
program: `pip install atheris` (it has wheels for Linux), then in the folder tests

    mkdir corpus
    python -m fuzz.atheris_target row corpus -max_total_time=600

where `row` is a target of `fuzz.targets`, `corpus` a folder that keeps inputs which reached something new, and the rest
are options of libFuzzer. An input is bytes from which Hypothesis draws, so both fuzzers know the same world; about half
of the bytes are too few to draw from and cost nothing. A failure is printed with the value that caused it.
"""

import sys

import atheris
from hypothesis import given

with atheris.instrument_imports(include=["groundr1"], enable_loader_override=False):
    from fuzz.__main__ import FUZZING
    from fuzz.targets import TARGETS, attempt


def main() -> None:
    """Command line: target, then what libFuzzer takes."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"name a target: {', '.join(TARGETS)}")
    name = sys.argv.pop(1)

    @FUZZING
    @given(TARGETS[name].strategy)
    def run(value: object) -> None:
        attempt(name, value)

    atheris.Setup(sys.argv, run.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
