"""Hostile inputs for everything that reads what others wrote: see tests/README.md."""
