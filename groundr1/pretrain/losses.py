"""The loss of a batch of conversations: what the model says, and whether it finds what the question names."""

import torch
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.utils import ModelOutput

from groundr1.pretrain.curriculum import ANSWER_WEIGHT, CELL, COORDINATE_WEIGHT, normalise
from groundr1.pretrain.vision import Heads
from groundr1.tiny import VIEW_SIDE, Qwen2_5_VLProcessor


def number_targets(processor: Qwen2_5_VLProcessor, vocab_size: int, blur: float) -> torch.Tensor:
    """Target distributions by token id: one-hot, but a number's is a Gaussian over the numbers 0-112.

    Returns:
        ``(vocab_size, vocab_size)`` float32, rows sum to 1.
    """
    targets = torch.eye(vocab_size)
    ids = torch.tensor(processor.tokenizer.convert_tokens_to_ids([str(n) for n in range(VIEW_SIDE + 1)]))
    distance = torch.arange(VIEW_SIDE + 1.0)[:, None] - torch.arange(VIEW_SIDE + 1.0)
    spread = torch.exp(-0.5 * (distance / blur) ** 2)
    targets[ids[:, None], ids] = spread / spread.sum(1, keepdim=True)
    return targets


def batch_loss(
    model: Qwen2_5_VLForConditionalGeneration,
    heads: Heads,
    batch: dict,
    targets: torch.Tensor,
    processor: Qwen2_5_VLProcessor,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Weighted cross-entropy on the model's turns plus :func:`place_loss`; and what to show.

    A digit answer is no coordinate: its target stays one-hot.
    """
    output = model.model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        mm_token_type_ids=batch["mm_token_type_ids"],
        pixel_values=normalise(batch["patches"], processor),
        image_grid_thw=batch["image_grid_thw"],
        output_hidden_states=True,
        output_attentions=True,
    )
    weights = batch["weights"][:, 1:]
    kept = weights > 0
    labels, weights = batch["input_ids"][:, 1:][kept], weights[kept]
    log_probs = F.log_softmax(
        model.lm_head(output.last_hidden_state[:, :-1][kept]), dim=-1
    )  # (kept, vocabulary)
    exact = -log_probs.gather(1, labels[:, None])[:, 0]
    spread = -(targets[labels] * log_probs).sum(1)
    is_answer, is_coordinate = weights == ANSWER_WEIGHT, weights == COORDINATE_WEIGHT
    right = (log_probs.argmax(1) == labels)[is_answer].float().mean()
    losses = torch.where(is_coordinate, spread, exact)
    place, attention, target = place_loss(heads, batch, output)
    parts = {
        "right": right.item(),
        "coordinate": spread[is_coordinate].mean().item(),
        "place": place.item() * CELL,
        "target": target.item() * CELL,
        "attention": attention.item(),
    }
    return (losses * weights).sum() / weights.sum() + place + attention + target, parts


def place_loss(
    heads: Heads, batch: dict[str, torch.Tensor], output: ModelOutput
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """How far the language model is from finding the thing that the question names.

    The vision tower's rotary positions are relative, so where in the view a token lies is for the language model to
    find out; and to look at the thing named it has to match a colour's name with image tokens. By itself it does
    neither within 1,000 steps; with this loss the corners are 12 view pixels off after 170.

    Args:
        heads: The read-outs.
        batch: Of :class:`~groundr1.pretrain.curriculum.Conversations`.
        output: The model's, with hidden states (embeddings first) and attention weights (of eager attention).

    Returns:
        Three scalars. Place: the mean error, in cells, of a read-out half way up, at the view's image tokens, of the
        token's own place and the corners of what it lies on. Attention: in the last layer but one, minus the logarithm
        of the weight that one head at the end of the prompt gives to tokens on the thing named. Target: the mean error
        in cells, of a read-out after that layer, of the corners of the box to give.
    """
    rows, states = batch["pointing"], output.hidden_states
    side = VIEW_SIDE // CELL
    first_cell = batch["mm_token_type_ids"][rows].argmax(1)  # (rows,)
    cells = first_cell[:, None] + torch.arange(side * side)  # (rows, 16)
    middle = F.rms_norm(states[len(states) // 2][rows[:, None], cells], states[0].shape[-1:])
    read = heads.place(middle)
    own = torch.stack([torch.arange(side * side) % side, torch.arange(side * side) // side], -1) + 0.5  # x, y
    corners = batch["corners"] + own.repeat(1, 2)[None, :, None]  # from the view's corner, in cells
    on = batch["present"] > 0
    place = F.l1_loss(read[..., 2:].unflatten(-1, (-1, 4))[on], corners[on])
    place = place + F.l1_loss(read[..., :2], own.expand(len(rows), -1, -1))
    end = (batch["weights"][rows] > 0).float().argmax(1) - 1
    looked = output.attentions[-2][rows, 0, end].gather(
        1, cells
    )  # (rows, 16), of one head of the last layer but one
    is_asked = (batch["present"] * batch["asked"][:, None]).amax(-1)  # (rows, 16)
    attention = -((looked * is_asked).sum(1) + 1e-6).log().mean()
    state = F.rms_norm(states[-2][rows, end], states[0].shape[-1:])
    return place, attention, F.l1_loss(heads.target(state), batch["boxes"] / CELL)
