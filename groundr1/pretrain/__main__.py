"""Command line of the pretraining: ``python -m groundr1.pretrain --out groundr1/assets/tiny``."""

import argparse
from pathlib import Path

from groundr1 import pretrain as package
from groundr1.pretrain.loop import pretrain


def main() -> None:
    """Read the command line and pretrain."""
    parser = argparse.ArgumentParser(
        description=package.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the model; a run that was killed goes on"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the scenes")
    parser.add_argument(
        "--processes", type=int, default=2, help="one core each; the batch is divided among them"
    )
    arguments = parser.parse_args()
    pretrain(arguments.out, seed=arguments.seed, processes=arguments.processes)


if __name__ == "__main__":
    main()
