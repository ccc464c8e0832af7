"""What is relied on inside TRL is there, and another TRL is refused."""

import pytest
from trl import GRPOTrainer

from groundr1 import trl_hooks
from groundr1.trainer import SRPOTrainer


def test_the_hooks_of_trl_are_there() -> None:
    trl_hooks.check_trl()
    for name in trl_hooks.TRL_HOOKS:
        assert name in vars(SRPOTrainer), "no longer overridden: take it off the list"


def test_another_trl_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(trl_hooks.trl, "__version__", "1.17.0")
    monkeypatch.setattr(GRPOTrainer, "_generate", lambda self, prompts, more: None)
    with pytest.raises(
        ImportError, match=r"TRL 1\.17\.0 is installed, where _generate .*pip install 'trl==1\.16\.\*'"
    ):
        trl_hooks.check_trl()
