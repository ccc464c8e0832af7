"""Evaluation: greedy, batched and resumable, on any dataset of examples."""

from groundr1.evaluation.runner import evaluate, read_predictions

__all__ = ["evaluate", "read_predictions"]
