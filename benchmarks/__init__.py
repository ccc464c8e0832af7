"""Benchmarks of groundr1, one script a question: `python -m benchmarks.training_step`; see benchmarks/README.md."""
