"""`kill_driver` for evaluations: the same orders, answered by `python -m groundr1.evaluate config`."""

import kill_driver
from kill_driver import half_of_content, half_of_rollout

from groundr1 import data, model  # noqa: F401  imported before the first fork
from groundr1.evaluate import main
from groundr1.evaluation import runner

MOMENTS = {
    "lock": ("fcntl", "flock", None, ""),
    "settings": ("pathlib", "Path.write_bytes", half_of_content, "settings.json"),
    "settings' rename": ("os", "replace", None, "settings.json"),
    "rollout": ("groundr1.evaluation.runner", "ground_and_answer", half_of_rollout, ""),
    "part": ("pathlib", "Path.write_bytes", half_of_content, "part_"),
    "part's rename": ("os", "replace", None, "part_"),
    "leftover's removal": ("pathlib", "Path.unlink", None, "part_"),
    "summary": ("pathlib", "Path.write_bytes", half_of_content, "summary.csv"),
    "summary's rename": ("os", "replace", None, "summary.csv"),
    "scores' rename": ("os", "replace", None, "scores.csv"),
    "report": ("pathlib", "Path.write_bytes", half_of_content, "report.json"),
    "report's rename": ("os", "replace", None, "report.json"),
}

if __name__ == "__main__":
    assert runner.evaluate
    kill_driver.main, kill_driver.MOMENTS = main, MOMENTS
    kill_driver.serve()
