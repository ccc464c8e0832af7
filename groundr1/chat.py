"""The tokens of a conversation around what the model writes, exactly as the processor's chat template renders
them."""

from functools import lru_cache

from torch import nn
from transformers import ProcessorMixin

from groundr1.prompts import PromptSet

# Sampled by the model, these would stand for a picture that is not there: TRL and transformers crash on the
# first.
VISION_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>")


class Chat:
    """Renders the user turns of grounded conversations to token ids.

    Args:
        processor: Of Qwen2.5-VL. Its chat template must leave earlier turns as they were when one is added.
        prompts: The user texts.

    Attributes:
        banned_ids: Tokens that must never be sampled.
    """

    def __init__(self, processor: ProcessorMixin, prompts: PromptSet) -> None:
        self.processor, self.prompts = processor, prompts
        self.tokenizer = processor.tokenizer
        vocabulary = self.tokenizer.get_vocab()
        self.banned_ids = [vocabulary[token] for token in VISION_TOKENS if token in vocabulary]
        self.image_id = vocabulary["<|image_pad|>"]
        self._evidence = lru_cache(maxsize=None)(self._render_evidence)

    def end_ids(self, model: nn.Module) -> set[int]:
        """Tokens that end a turn: the tokenizer's end token and those of the model's generation config."""
        declared = model.generation_config.eos_token_id
        return {self.tokenizer.eos_token_id, *([declared] if isinstance(declared, int) else declared or [])}

    def text(self, token_ids: list[int]) -> str:
        """Decode a turn. Special tokens stay visible: a turn that holds one is not well-formed."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=False)

    def opening(
        self, question: str, view_size: tuple[int, int], num_image_tokens: int, *, grounds: bool
    ) -> list[int]:
        """The prompt: the picture with the question and, where the model `grounds`, the view's width and
        height.

        Raises ValueError when the question holds the placeholder of a picture.
        """
        width, height = view_size
        text = (
            self.prompts.ground.format(question=question, width=width, height=height)
            if grounds
            else self.prompts.direct.format(question=question)
        )
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
        ids = self._encode(
            self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )
        return self._expand(ids, num_image_tokens, f"The question {question!r}")

    def evidence(self, num_image_tokens: int, *, is_last: bool, finished: int) -> list[int]:
        """What follows a box turn: its end, the crop with its user text, and the head of the model's next
        turn.

        Args:
            num_image_tokens: Of the crop. is_last: No further crop will be allowed.
            finished: The turn's last token; an end token is added unless it is the template's own.
        """
        ids = self._evidence(self.prompts.last if is_last else self.prompts.after_crop)
        end = self.tokenizer.eos_token_id
        return ([] if finished == end else [end]) + self._expand(ids, num_image_tokens, "The crop's text")

    def _render_evidence(self, text: str) -> tuple[int, ...]:
        """Tokens between the end token of a turn and the next turn."""
        before = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        after = [*before, {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
        head = self.processor.apply_chat_template(before, tokenize=False, add_generation_prompt=False)
        whole = self.processor.apply_chat_template(after, tokenize=False, add_generation_prompt=True)
        end = self.tokenizer.eos_token
        if not whole.startswith(head) or end not in head:
            raise ValueError(
                "The processor's chat template changes earlier turns when one is added, or does not close a turn"
                f" with the tokenizer's end token {end!r}. Multi-turn training needs one like Qwen2.5-VL's."
            )
        return tuple(self._encode(whole[head.rindex(end) + len(end) :]))

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _expand(self, ids: list[int] | tuple[int, ...], num_image_tokens: int, what: str) -> list[int]:
        """Repeat the one placeholder for each of the picture's tokens."""
        if ids.count(self.image_id) != 1:
            raise ValueError(
                f"{what} holds the token <|image_pad|>, which stands for a picture; leave it out."
            )
        place = ids.index(self.image_id)
        return [*ids[:place], *[self.image_id] * num_image_tokens, *ids[place + 1 :]]
