"""Fuzz everything for as many inputs as asked, and print how many there were: python -m fuzz --inputs 120000

Inputs come in chunks, each with a seed of its own, so that a failure is found again by `--target` and `--seed` and the
generator's memory does not grow. Ends with status 1 after the first failure, whose smallest input is printed; enter it
in tests/test_fuzz_regressions.py.
"""

import argparse
import math
import os
import random
import resource
import sys
import time

from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz.targets import TARGETS, attempt

CHUNK = 1000
MOST_MEMORY = 3 * 2**30  # bytes beyond those of the start; an input that needs more fails
FUZZING = settings(
    deadline=None, database=None, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck), print_blob=False
)  # fmt: skip


def fuzz(name: str, num: int, first_seed: int) -> dict[str, float]:
    """Give `num` inputs to a target; raises what the first failure raises, with the input in the notes."""
    done, slowest, start = 0, 0.0, time.perf_counter()
    number = first_seed
    while done < num:
        strategy = TARGETS[name].strategy

        @seed(number)
        @settings(FUZZING, max_examples=min(CHUNK, num - done))
        @given(strategy)
        def run(value: object) -> None:
            nonlocal done, slowest
            done += 1
            slowest = max(slowest, attempt(name, value))

        try:
            run()
        except BaseException as error:
            error.add_note(
                f"FUZZ failed: target {name}, found by --target {name} --seed {number} --inputs {CHUNK}"
            )
            raise
        number += 1
    return {"inputs": done, "seconds": time.perf_counter() - start, "slowest": slowest}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=120_000, help="over all targets")
    parser.add_argument(
        "--target", choices=sorted(TARGETS), action="append", help="only this one; may be repeated"
    )
    parser.add_argument("--seed", type=int, help="of the first chunk; left out, another each time")
    options = parser.parse_args()
    first_seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    names = options.target or list(TARGETS)
    shares = sum(TARGETS[name].share for name in names)
    memory = (
        os.sysconf("SC_PAGE_SIZE") * int(open("/proc/self/statm").read().split()[0])
        if os.path.exists("/proc/self/statm")
        else 0
    )
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory + MOST_MEMORY, memory + MOST_MEMORY))
    print(f"FUZZ seed={first_seed}", flush=True)
    total = {"inputs": 0, "seconds": 0.0}
    for name in names:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = fuzz(name, math.ceil(options.inputs * TARGETS[name].share / shares), first_seed)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(
            f"FUZZ {name}={found['inputs']} seconds={found['seconds']:.0f} slowest_input={found['slowest']:.3f}s peak_memory=+{grown:.0f}MiB",
            flush=True,
        )
        total = {key: total[key] + found[key] for key in total}
    print(f"FUZZ total={total['inputs']} seconds={total['seconds']:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
