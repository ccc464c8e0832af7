"""Advantages: GRPO, the baseline, and Scale Relative Policy Optimization (arXiv 2505.20272 v3); tensors only.

All tensors are `(N,)` with `N = prompts * group_size`, the trajectories of a prompt (its *group*) contiguous.
A group is split by the scale of its evidence boxes into bins of relative area; SRPO compares a trajectory
with those of its own bin (intra) and adds which bin did best (inter), so that large, easy evidence does not
set the bar for small evidence. Nobody has published the authors' SRPO code: where the paper leaves something
open, the docstring says what was chosen and why.
"""

import math
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import LongTensor, Tensor
from torch.nn.functional import one_hot

# Mean rewards of two bins closer than this, relative to the group's largest reward (or 1), are a tie: wider than
# the rounding of float32 rewards (6e-8 each), a hundred times below the eps that blurs such differences anyway.
_TIE_TOLERANCE = 1e-6


def scale_bins(relative_areas: Tensor | Sequence[float], num_bins: int = 3) -> LongTensor:
    """Scale bin of each evidence box, `min(floor(K a), K - 1)`: K bins of equal width, 0-based; method step 1 of SRPO.

    Args:
        relative_areas: `(N,)` floats in [0, 1]; 1 where the whole picture was the evidence.
        num_bins: K, 3 in the paper.

    Returns:
        `(N,)` int64 in `[0, K)`, on the device of `relative_areas`.

    Raises ValueError for a NaN, infinite or out-of-range area (naming its position) and for `num_bins < 1`.

    >>> scale_bins([0.0, 0.2, 0.5, 0.99, 1.0]).tolist()
    [0, 0, 1, 2, 2]
    """
    if not isinstance(num_bins, Integral) or num_bins < 1:
        raise ValueError(
            f"num_bins is {num_bins!r}, but must be a whole number of 1 or more; the paper uses 3."
        )
    areas = _vector("relative_areas", relative_areas, torch.float64)
    _check_each("relative_areas", areas, (areas >= 0) & (areas <= 1), "must lie in [0, 1]")
    return (areas * num_bins).floor().long().clamp(max=num_bins - 1)


def grpo_advantages(rewards: Tensor | Sequence[float], group_size: int, *, eps: float = 1e-4) -> Tensor:
    """GRPO: `A = (r - mean(r)) / (std(r) + eps)` over each group, with the unbiased std; section 3 of the method.

    Equal to the last bit to what TRL 1.16 computes with `scale_rewards="group"`, with one exception: a group
    whose rewards are all equal gets exactly 0, where TRL may keep rounding noise (up to 1e-3, as it is
    divided by eps).

    Args:
        rewards: `(N,)` finite floats; computed in float32, as in TRL.
        group_size: trajectories per prompt, 8 in the paper; a group of one gets 0.
        eps: added to the std, above 0.

    Returns:
        `(N,)` float32 without gradient, on the device of `rewards`.

    Raises ValueError when a reward is NaN or infinite (naming its position) and when `group_size` does not
    divide N.

    >>> [round(a, 3) for a in grpo_advantages([0.0, 1.0, 0.5, 0.5], group_size=2).tolist()]
    [-0.707, 0.707, 0.0, 0.0]
    """
    return _standardise(_groups(rewards, group_size), _check_eps(eps)).flatten()


def srpo_advantages(
    rewards: Tensor | Sequence[float],
    relative_areas: Tensor | Sequence[float],
    group_size: int,
    *,
    num_bins: int = 3,
    intra: bool = True,
    inter: bool = True,
    eps: float = 1e-4,
) -> Tensor:
    """SRPO: `A = (r - mu_s) / (sigma_s + eps) + (r' - mean(r')) / (std(r') + eps)`; steps 1 to 4 of the method.

    `mu_s` and `sigma_s` are over the trajectories of the group in the same scale bin s (intra-bin term); `r'`
    is 1 for the trajectories of the bin with the highest mean reward and 0 for the others, standardised over
    the group (inter-bin term).

    The paper leaves open, and these are our choices:

    - eps in both denominators and the unbiased std, because GRPO has them: with one bin occupied the result
    is `grpo_advantages` to the last bit. - A bin with one member has no sigma: its intra-bin term is 0. Its
    reward still counts as the bin's mean. - Ties: every bin whose mean equals the highest gets `r' = 1`, so
    that no scale is preferred by its order. Means are compared in float64 with a tolerance of 1e-6 times the
    largest absolute reward of the group (at least 1). - Empty bins never win. If all occupied bins tie, the
    inter-bin term is 0.

    Args:
        rewards: `(N,)` finite floats, format plus answer reward with their weights.
        relative_areas: `(N,)` in [0, 1] as in `scale_bins`.
        group_size: trajectories per prompt.
        num_bins: K, 3 in the paper; with 1 this is GRPO.
        intra, inter: which of the two terms to keep, for the paper's ablations.
        eps: added to every std, above 0.

    Returns:
        `(N,)` float32 without gradient, on the device of `rewards`.

    Raises ValueError as `scale_bins` and `grpo_advantages` do, when the lengths differ and when both terms
    are off.

    >>> advantages = srpo_advantages([1.0, 0.0, 1.0, 1.0], [0.1, 0.1, 0.9, 0.9], group_size=4)
    >>> [round(a, 2) for a in advantages.tolist()]
    [-0.16, -1.57, 0.87, 0.87]
    """
    if not (intra or inter):
        raise ValueError(
            "intra and inter are both False, which leaves no advantage; set one, or use grpo_advantages."
        )
    _check_eps(eps)
    grouped = _groups(rewards, group_size)  # (P, G)
    bins = scale_bins(relative_areas, num_bins)
    if bins.numel() != grouped.numel():
        raise ValueError(
            f"{grouped.numel()} rewards but {bins.numel()} relative_areas; give one area per trajectory."
        )
    # On the CPU, because float64 is wanted and some accelerators have none; N is a few thousand at most.
    bins = bins.cpu().reshape(grouped.shape)  # (P, G)
    member = one_hot(bins, num_bins).bool()  # (P, G, K)
    values = grouped.to("cpu", torch.float64)
    advantages = torch.zeros(grouped.shape, dtype=torch.float32)
    if intra:
        one_bin_only = member.any(dim=1).sum(dim=1, keepdim=True) == 1  # (P, 1)
        within_bins = _standardise_within(values, bins, member, eps)
        # Sums over a bin and over a group may add in another order; taking GRPO's own makes "exactly GRPO" literal.
        advantages += torch.where(one_bin_only, _standardise(grouped, eps).cpu(), within_bins)
    if inter:
        advantages += _standardise(_in_best_bin(values, bins, member), eps)
    return advantages.flatten().to(grouped.device)


def _standardise(grouped: Tensor, eps: float) -> Tensor:
    """`(P, G)` float32 to advantages over dim 1, operation by operation as TRL 1.16's `GRPOTrainer` does it."""
    # TRL reduces with nanmean, which adds in another order than mean: the last bit depends on it.
    deviation = grouped - torch.nanmean(grouped, dim=1, keepdim=True)
    count = torch.tensor(grouped.shape[1], device=grouped.device)
    variance = torch.nanmean(deviation**2, dim=1, keepdim=True) * (count / (count - 1))
    advantages = deviation / (variance.sqrt() + eps)
    constant = grouped.amax(dim=1, keepdim=True) == grouped.amin(dim=1, keepdim=True)
    return advantages.masked_fill(constant, 0.0)


def _bin_sums(values: Tensor, member: Tensor) -> Tensor:
    """`(P, G)` values summed into `(P, K)` bins."""
    return (values.unsqueeze(-1) * member).sum(dim=1)


def _standardise_within(values: Tensor, bins: Tensor, member: Tensor, eps: float) -> Tensor:
    """Intra-bin term, `(P, G)` float32: deviation from the bin's mean over the bin's unbiased std plus eps."""
    count = member.sum(dim=1)  # (P, K)
    mean = _bin_sums(values, member) / count.clamp(min=1)
    # Exact zeros for equal rewards: a sum of equal float32 numbers is exact in float64, and so is its mean.
    deviation = values - mean.gather(1, bins)
    std = (_bin_sums(deviation**2, member) / (count - 1).clamp(min=1)).sqrt()
    return (deviation / (std.gather(1, bins) + eps)).float()


def _in_best_bin(values: Tensor, bins: Tensor, member: Tensor) -> Tensor:
    """Inter-bin reward `r'`, `(P, G)` float32: 1 for the trajectories of every bin whose mean reward is the highest."""
    count = member.sum(dim=1)  # (P, K)
    mean = (_bin_sums(values, member) / count.clamp(min=1)).masked_fill(count == 0, -math.inf)
    tolerance = _TIE_TOLERANCE * values.abs().amax(dim=1, keepdim=True).clamp(min=1)
    best = mean >= mean.amax(dim=1, keepdim=True) - tolerance  # (P, K)
    return best.gather(1, bins).float()


def _vector(name: str, values: Tensor | Sequence[float], dtype: torch.dtype) -> Tensor:
    """`values` as a detached 1-D tensor; a sequence becomes `dtype`, so do tensors without or with coarser floats."""
    tensor = values.detach() if isinstance(values, Tensor) else torch.as_tensor(values, dtype=dtype)
    if tensor.dim() != 1:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, but must be flat, (N,): one value per trajectory."
        )
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def _check_each(name: str, values: Tensor, allowed: Tensor, rule: str) -> None:
    if not bool(allowed.all()):
        position = int((~allowed).nonzero()[0])
        raise ValueError(
            f"{name}[{position}] is {values[position].item()}, but every one {rule}; mend its source."
        )


def _groups(rewards: Tensor | Sequence[float], group_size: int) -> Tensor:
    """Checked rewards as `(P, G)` float32."""
    values = _vector("rewards", rewards, torch.float32).float()
    if not isinstance(group_size, Integral) or group_size < 1 or values.numel() % group_size:
        raise ValueError(
            f"group_size is {group_size!r} for {values.numel()} rewards, but must be a whole number of 1 or more that "
            "divides them: every prompt needs the same number of trajectories."
        )
    _check_each("rewards", values, values.isfinite(), "must be finite")
    return values.reshape(-1, group_size)


def _check_eps(eps: float) -> float:
    if not 0 < eps < math.inf:
        raise ValueError(f"eps is {eps!r}, but must be finite and above 0; GRPO uses 1e-4.")
    return eps
