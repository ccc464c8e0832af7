"""Pretraining of the tiny base model on generated scenes: ``python -m groundr1.pretrain --out groundr1/assets/tiny``.

The paper starts from a model that can see, point and read (Qwen2.5-VL-7B-Instruct); this makes one that fits a
laptop. Not in the paper: our choice. A base that cannot point collapses to large boxes under either trainer, so
localisation is what pretraining has to buy. First the vision tower learns alone (:mod:`~groundr1.pretrain.vision`),
then the whole model learns to read, to point and to talk (:mod:`~groundr1.pretrain.curriculum`), in the stages of
:mod:`~groundr1.pretrain.loop`. :mod:`~groundr1.pretrain.measure` says what came out.
"""
