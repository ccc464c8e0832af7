"""The paper's own numbers, to stand beside ours and never among them.

Transcribed from Ground-R1 (arXiv 2505.20272): v2 (June 2025, GRPO, Visual-CoT data) and v3 (February 2026,
SRPO). They are for Qwen2.5-VL-7B on the public benchmarks; the kit's tiny model on generated scenes is
another experiment.

    >>> results = paper_results()
    >>> results.query("source == 'v3' and benchmark == 'V*' and model == 'Ground-R1'")["value"].item()
    87.4
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

RESULTS_FILE = Path(__file__).with_name("paper_results.csv")
# The paper's names of its models -> ours: its "Ground-R1" is trained with GRPO in v2 and with SRPO in v3.
V2_ARMS: Mapping[str, str] = {"Qwen2.5-VL-7B": "base", "Ground-R1": "GRPO"}
V3_ARMS: Mapping[str, str] = {"Qwen2.5-VL-7B": "base", "Ground-R1-GRPO": "GRPO", "Ground-R1": "SRPO"}


def paper_results() -> pd.DataFrame:
    """Every result of the paper that the kit refers to.

    Returns:
        Columns source ("v2", "v3", "v3 (derived from the gain)": the paper prints the gain, the base is our
        subtraction), table (which of the paper's tables), model, benchmark, split, metric ("accuracy",
        "acc@0.5", "score", "points": per cent, per cent, MME points, gain over the base) and value (float64).
    """
    return pd.read_csv(RESULTS_FILE)
