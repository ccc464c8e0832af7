"""Give everything as many hostile inputs as asked, and print how many: python -m fuzz --inputs 120000

Inputs come in chunks with a seed each, so that a failure is found again by `--target` and `--seed`, and the generator's
memory does not grow. A failure ends its target, and in the end the status is 1; its smallest input is printed, and
belongs into tests/test_fuzz_regressions.py.
"""

import argparse
import math
import random
import resource
import sys
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz.targets import TARGETS, attempt

CHUNK = 1000
MOST_MEMORY = 3 * 2**30  # bytes beyond what the start takes; an input that wants more fails
LONGEST_REPORT = 4000  # characters of a failure that are printed
FUZZING = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


def fuzz(name: str, num: int, first_seed: int) -> dict[str, float]:
    """Give `num` inputs to a target; raises what the first failure raises.

    Returns:
        inputs, how many there were; taken, how many of them were taken for good; seconds; slowest, the processor
        seconds of the slowest input.
    """
    found = {"inputs": 0, "taken": 0, "seconds": 0.0, "slowest": 0.0}
    start, number = time.perf_counter(), first_seed
    while found["inputs"] < num:

        @seed(number)
        @settings(FUZZING, max_examples=min(CHUNK, num - found["inputs"]))
        @given(TARGETS[name].strategy)
        def run(value: object) -> None:
            found["inputs"] += 1
            taken, seconds = attempt(name, value)
            found["taken"] += taken
            found["slowest"] = max(found["slowest"], seconds)

        try:
            run()
        except BaseException as error:
            error.add_note(f"find it again: --target {name} --seed {number} --inputs {CHUNK}")
            raise
        number += 1
    return found | {"seconds": time.perf_counter() - start}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=120_000, help="over all targets")
    parser.add_argument(
        "--target", choices=sorted(TARGETS), action="append", help="this one; may be repeated"
    )
    parser.add_argument("--seed", type=int, help="of the first chunk; left out, another each time")
    options = parser.parse_args()
    first_seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    names = options.target or list(TARGETS)
    _limit_memory()
    print(f"FUZZ seed={first_seed}", flush=True)
    total, failed = 0, []
    start = time.perf_counter()
    for name in names:
        num = math.ceil(options.inputs * TARGETS[name].share / sum(TARGETS[each].share for each in names))
        met = _told(name, num, first_seed)
        if met is None:
            failed.append(name)
        else:
            total += met
    print(f"FUZZ total={total} seconds={time.perf_counter() - start:.0f} peak={_peak_mib()}MiB")
    if failed:
        print(f"FUZZ failed={','.join(failed)}")
    return int(bool(failed))


def _told(name: str, num: int, first_seed: int) -> int | None:
    """Fuzz a target and print how it went; returns how many inputs it met, None where it failed."""
    before = _peak_mib()
    try:
        found = fuzz(name, num, first_seed)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # extensions raise what is no Exception
        text = "".join(traceback.format_exception(error))
        print(text if len(text) < LONGEST_REPORT else f"...\n{text[-LONGEST_REPORT:]}")
        print(f"FUZZ failed={name}", flush=True)
        return None
    print(
        f"FUZZ {name}={found['inputs']} taken={found['taken'] / found['inputs']:.0%} seconds={found['seconds']:.0f}"
        f" slowest={found['slowest']:.2f}s memory=+{_peak_mib() - before}MiB",
        flush=True,
    )
    return found["inputs"]


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _limit_memory() -> None:
    """Let an input that eats memory fail, and not the machine; where the system says how much there is now."""
    facts = Path("/proc/self/statm")
    if facts.is_file():
        most = int(facts.read_text().split()[0]) * resource.getpagesize() + MOST_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    sys.exit(main())
