"""The tiny Qwen2.5-VL, from nothing: configuration, tokenizer and processor.

A real ``Qwen2_5_VLForConditionalGeneration`` small enough for two CPU cores. Not in the paper: our choice, so that the
whole method can be run and studied offline. Its weights are made by ``python -m groundr1.pretrain`` and lie in
``groundr1/assets/tiny``.
"""

from collections.abc import Iterable

import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, ProcessorMixin, Qwen2_5_VLConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

VIEW_SIDE = 112  # a square picture becomes 4 x 4 merged image tokens
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
TURN_TOKENS = ("<think>", "</think>", "<box>", "</box>", "<answer>", "</answer>")
VOCABULARY_SIZE = 768

# Qwen2.5-VL's chat format; no system prompt, which would only cost tokens.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Qwen2_5_VLProcessor(transformers.Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor without the video part, which would need torchvision.

    It bears its parent's name because that is what it writes into checkpoints, where other tools look it up.
    """

    attributes = ["image_processor", "tokenizer"]

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        self.video_processor = None
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        # The parent of the parent: the parent itself insists on a video processor.
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def build_tokenizer(corpus: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train the byte-level BPE tokenizer: any text encodes, and the whole numbers 0-112 are single tokens.

    Args:
        corpus: Texts of the generated world; frequent words become single tokens.

    Returns:
        A fast tokenizer with Qwen's special tokens and the turn tags as single tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    words = Regex(r"\p{N}+| ?\p{L}+|[^\s\p{L}\p{N}]|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    numbers = [str(number) for number in range(VIEW_SIDE + 1)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(TURN_TOKENS) - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*corpus, *(numbers * 50)], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
    fast.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    fast.add_tokens(list(TURN_TOKENS))
    return fast


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLProcessor:
    """The processor of the tiny model: every picture becomes about ``VIEW_SIDE**2`` pixels, its shape kept."""
    pixels = VIEW_SIDE**2
    tokenizer.chat_template = CHAT_TEMPLATE
    image_processor = Qwen2VLImageProcessorPil(min_pixels=pixels, max_pixels=pixels)
    return Qwen2_5_VLProcessor(
        image_processor=image_processor, tokenizer=tokenizer, chat_template=CHAT_TEMPLATE
    )


def tiny_config(tokenizer: PreTrainedTokenizerFast | None = None) -> Qwen2_5_VLConfig:
    """Configuration of the tiny model: text width 128, 4 layers; vision width 96, 3 layers, all with full attention.

    ``initializer_range`` is 0.08, about 1/sqrt(width): with the usual 0.02 a model this narrow stays at chance.

    Args:
        tokenizer: Gives the special token ids and the vocabulary size; None takes those of a full vocabulary.
    """
    ids = {
        token: VOCABULARY_SIZE - len(TURN_TOKENS) - len(SPECIAL_TOKENS) + i
        for i, token in enumerate(SPECIAL_TOKENS)
    }
    if tokenizer is not None:
        ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY_SIZE if tokenizer is None else -(-len(tokenizer) // 64) * 64,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "initializer_range": 0.08,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 3,
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_heads": 4,
            "out_hidden_size": 128,
            "window_size": 112,
            "fullatt_block_indexes": [0, 1, 2],
            "initializer_range": 0.08,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
        initializer_range=0.08,
    )
