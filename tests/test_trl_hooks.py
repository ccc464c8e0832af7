"""What is relied on inside TRL is there, and another TRL is refused."""

import inspect

import pytest
from trl import GRPOTrainer
from trl.generation.vllm_client import VLLMClient

from groundr1 import trl_hooks
from groundr1.trainer import SRPOTrainer


def test_the_hooks_of_trl_are_there() -> None:
    trl_hooks.check_trl()
    for name in trl_hooks.TRL_HOOKS:
        overridden = getattr(SRPOTrainer, name) is not getattr(GRPOTrainer, name)
        assert overridden, "no longer overridden: take it off the list"


def test_another_trl_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(trl_hooks.trl, "__version__", "1.17.0")
    monkeypatch.setattr(GRPOTrainer, "_generate", lambda self, prompts, more: None)
    with pytest.raises(
        ImportError, match=r"TRL 1\.17\.0 .*, where GRPOTrainer\._generate differ.*install 'trl==1\.16\.\*'"
    ):
        trl_hooks.check_trl()


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, hooks in trl_hooks.VLLM_HOOKS.items() for name in hooks]
)
def test_another_interface_to_vllm_is_refused(monkeypatch, owner, name) -> None:
    """A parameter is added; the version may still be the same one, as in a build from source."""

    def changed() -> None: ...

    names = ("self", *trl_hooks.VLLM_HOOKS[owner][name], "more")
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    changed.__signature__ = inspect.Signature([inspect.Parameter(each, kind) for each in names])
    monkeypatch.setattr(owner, name, changed)
    with pytest.raises(ImportError, match=rf"where {owner.__name__}\.{name} differ.*install 'trl==1\.16"):
        trl_hooks.check_trl()


def test_an_interface_to_vllm_without_pictures_is_refused(monkeypatch) -> None:
    monkeypatch.delattr(VLLMClient, "image_features")
    with pytest.raises(ImportError, match=r"where VLLMClient\.image_features differ"):
        trl_hooks.check_trl()
