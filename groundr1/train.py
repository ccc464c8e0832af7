"""Train from a configuration file: `python -m groundr1.train config.yaml`.

On several GPUs: `accelerate launch -m groundr1.train config.yaml`. The same command resumes a run that was
killed. With `--dry-run` nothing is trained: parameters and memory per GPU are printed.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from groundr1.config import TrainConfig
from groundr1.storage import NoSpaceError

EXAMPLE = """\
name: srpo-tiny
advantage: srpo
data: {scenes: 2000, seed: 1}
steps: 200
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m groundr1.train",
        description="Train Qwen2.5-VL with GRPO or SRPO on grounded rollouts, into a run folder. A run that was"
        " killed is resumed by the same command; a complete one is left alone.",
        epilog=f"fields of the configuration, with their defaults:\n{TrainConfig.describe_fields()}\n\n"
        f"example:\n{EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", help="YAML file of 'field: value' lines; 'name' is required")
    parser.add_argument(
        "--dry-run", action="store_true", help="print parameters and memory per GPU, and train nothing"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        config = TrainConfig.from_yaml(options.config)
        if options.dry_run:
            from groundr1.dry_run import dry_run

            sys.stdout.write(dry_run(config))
            return 0
        # After the configuration is read: the trainer takes seconds to import, a typing error should not.
        from groundr1.trainer import train

        folder = train(config)
    except (ValueError, FileNotFoundError, NoSpaceError) as error:
        logging.getLogger(__name__).debug("", exc_info=True)
        parser.exit(2, f"{parser.prog}: {error}\n")
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
