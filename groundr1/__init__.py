"""groundr1: a research kit for Ground-R1 (arXiv 2505.20272), visual reasoning that grounds itself in evidence boxes.

Importing the package has no side effect and loads no submodule; import what you need, for instance
`from groundr1.srpo import srpo_advantages`. The README lists the modules and the five notebooks.
"""

__version__ = "0.1.0"
