"""Evaluation: greedy, batched, resumable rollouts on any dataset; scores of every benchmark from predictions alone."""

from groundr1.evaluation.predictions import read_predictions
from groundr1.evaluation.runner import evaluate
from groundr1.evaluation.scoring import score, score_rows

__all__ = ["evaluate", "read_predictions", "score", "score_rows"]
