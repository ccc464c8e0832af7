"""Advantages: hand arithmetic, TRL's own lines, and what must hold for every group."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groundr1.srpo import grpo_advantages, scale_bins, srpo_advantages

EPS = 1e-4
SMALL, MEDIUM, LARGE = 0.1, 0.5, 0.9  # one relative area in each of three bins
ROOT_HALF = 0.5 / (
    math.sqrt(0.5) + EPS
)  # standardised 1 of the pair (0, 1): deviation 1/2, unbiased std sqrt(1/2)


def trl_advantages(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
    """The lines of TRL 1.16's GRPOTrainer for scale_rewards="group" and its `nanstd`, without NaNs left out."""
    grouped = rewards.view(-1, group_size)
    mean = torch.nanmean(grouped, dim=1).repeat_interleave(group_size, dim=0)
    variance = torch.nanmean(
        (grouped - torch.nanmean(grouped, dim=1, keepdim=True)) ** 2, dim=1, keepdim=True
    )
    count = torch.sum(~torch.isnan(grouped), dim=1, keepdim=True)
    variance *= count / (count - 1)
    std = torch.sqrt(variance).squeeze(1).repeat_interleave(group_size, dim=0)
    return (rewards - mean) / (std + 1e-4)


@pytest.mark.parametrize(
    ("area", "num_bins", "expected", "reason"),
    [
        (0.0, 3, 0, "nothing of the box is inside"),
        (0.333, 3, 0, "just below a third"),
        (1 / 3, 3, 1, "bins are closed below"),
        (2 / 3, 3, 2, "bins are closed below"),
        (0.999, 3, 2, "the last bin"),
        (1.0, 3, 2, "the whole picture belongs to the last bin, not to one of its own"),
        (0.999, 1, 0, "one bin"),
        (1.0, 1, 0, "one bin"),
        (0.25, 4, 1, "four bins"),
        (0.49, 2, 0, "two bins"),
    ],
)
def test_scale_bins_by_hand(area, num_bins, expected, reason):
    for areas in ([area], torch.tensor([area]), torch.tensor([area], dtype=torch.float64)):
        bins = scale_bins(areas, num_bins)
        assert bins.tolist() == [expected], reason
        assert bins.dtype == torch.long


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.01, 1.01])
def test_areas_out_of_range_are_named(bad):
    areas = [0.5, 0.5, bad, 0.5]
    with pytest.raises(ValueError, match=r"relative_areas\[2\] is"):
        scale_bins(areas)
    with pytest.raises(ValueError, match=r"relative_areas\[2\] is"):
        srpo_advantages([1.0, 0.0, 1.0, 0.0], areas, 4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_rewards_that_are_no_numbers_are_named(bad):
    rewards = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, bad])
    with pytest.raises(ValueError, match=r"rewards\[5\] is"):
        grpo_advantages(rewards, 2)
    with pytest.raises(ValueError, match=r"rewards\[5\] is"):
        srpo_advantages(rewards, torch.zeros(6), 2)


@pytest.mark.parametrize("group_size", [4, 0, -2, 2.0, 7])
def test_a_group_size_that_does_not_divide_is_refused(group_size):
    for call in (
        lambda: grpo_advantages(torch.zeros(6), group_size),
        lambda: srpo_advantages(torch.zeros(6), torch.zeros(6), group_size),
    ):
        with pytest.raises(ValueError, match=f"group_size is {group_size} for 6 rewards"):
            call()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bins": 0}, "num_bins is 0"),
        ({"num_bins": 2.5}, "num_bins is 2.5"),
        ({"eps": 0.0}, "eps is 0.0"),
        ({"eps": float("nan")}, "eps is nan"),
        ({"intra": False, "inter": False}, "both False"),
        ({"relative_areas": torch.zeros(3)}, "4 rewards but 3 relative_areas"),
        ({"relative_areas": torch.zeros(2, 2)}, r"relative_areas has shape \(2, 2\)"),
        ({"rewards": torch.zeros(2, 2)}, r"rewards has shape \(2, 2\)"),
    ],
)
def test_wrong_parameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        srpo_advantages(
            **({"rewards": torch.zeros(4), "relative_areas": torch.zeros(4), "group_size": 2} | arguments)
        )


@pytest.mark.parametrize(
    ("rewards", "group_size", "expected", "reason"),
    [
        ([0.0, 1.0], 2, [-ROOT_HALF, ROOT_HALF], "deviation 1/2, unbiased std 0.7071"),
        ([0.0, 0.0, 0.0, 1.0], 4, [-0.25 / (0.5 + EPS)] * 3 + [0.75 / (0.5 + EPS)], "std sqrt(0.75 / 3)"),
        ([1.0, 2.0, 3.0], 3, [-1 / (1 + EPS), 0, 1 / (1 + EPS)], "std 1"),
        ([0.0, 1.0, 5.0, 5.0], 2, [-ROOT_HALF, ROOT_HALF, 0, 0], "each group for itself"),
        ([0.7], 1, [0], "a group of one"),
        ([], 8, [], "no trajectory"),
    ],
)
def test_grpo_by_hand(rewards, group_size, expected, reason):
    advantages = grpo_advantages(rewards, group_size)
    assert advantages.dtype == torch.float32
    assert advantages.tolist() == pytest.approx(expected, abs=1e-6), reason


# Rewards, relative areas, intra-bin term, inter-bin term; one group each, three bins.
SRPO_BY_HAND = {
    "two bins of two": (
        [1.0, 0.0, 1.0, 1.0],
        [SMALL, SMALL, LARGE, LARGE],
        [ROOT_HALF, -ROOT_HALF, 0, 0],  # large: equal rewards
        [-0.5 / (math.sqrt(1 / 3) + EPS)] * 2
        + [0.5 / (math.sqrt(1 / 3) + EPS)] * 2,  # large wins, 1 against 1/2
    ),
    "a bin of one has no intra-bin term but can win": (
        [0.0, 1.0, 3.0],
        [SMALL, SMALL, MEDIUM],
        [-ROOT_HALF, ROOT_HALF, 0],
        [-(1 / 3) / (math.sqrt(1 / 3) + EPS)] * 2 + [(2 / 3) / (math.sqrt(1 / 3) + EPS)],
    ),
    "two bins tie: both get 1": (
        [1.0, 0.0, 0.5, 0.5, 0.0, 0.0],
        [SMALL, SMALL, MEDIUM, MEDIUM, LARGE, LARGE],
        [ROOT_HALF, -ROOT_HALF, 0, 0, 0, 0],
        [(1 / 3) / (math.sqrt(4 / 15) + EPS)] * 4 + [-(2 / 3) / (math.sqrt(4 / 15) + EPS)] * 2,  # 4 ones in 6
    ),
    "all bins tie: no inter-bin term": (
        [1.0, 0.0, 0.0, 1.0],
        [SMALL, SMALL, LARGE, LARGE],
        [ROOT_HALF, -ROOT_HALF, -ROOT_HALF, ROOT_HALF],
        [0, 0, 0, 0],
    ),
    "an empty bin never wins, though all means are negative": (
        [-1.0, -2.0, -3.0, -3.0],
        [SMALL, SMALL, LARGE, LARGE],
        [ROOT_HALF, -ROOT_HALF, 0, 0],
        [0.5 / (math.sqrt(1 / 3) + EPS)] * 2 + [-0.5 / (math.sqrt(1 / 3) + EPS)] * 2,
    ),
    "three bins of one": ([0.0, 1.0, 2.0], [SMALL, MEDIUM, LARGE], [0, 0, 0], None),
    "one bin is GRPO": ([1.0, 2.0, 3.0], [SMALL] * 3, [-1 / (1 + EPS), 0, 1 / (1 + EPS)], [0, 0, 0]),
}


@pytest.mark.parametrize("case", SRPO_BY_HAND)
def test_srpo_by_hand(case):
    rewards, areas, intra, inter = SRPO_BY_HAND[case]
    if inter is None:  # the winner alone: (0, 0, 1)
        inter = [-(1 / 3) / (math.sqrt(1 / 3) + EPS)] * 2 + [(2 / 3) / (math.sqrt(1 / 3) + EPS)]
    size = len(rewards)
    both = [a + b for a, b in zip(intra, inter, strict=True)]
    assert srpo_advantages(rewards, areas, size, inter=False).tolist() == pytest.approx(intra, abs=1e-6)
    assert srpo_advantages(rewards, areas, size, intra=False).tolist() == pytest.approx(inter, abs=1e-6)
    assert srpo_advantages(rewards, areas, size).tolist() == pytest.approx(both, abs=1e-6)


def test_prompts_do_not_see_each_other():
    cases = [case for case in SRPO_BY_HAND.values() if len(case[0]) == 4]
    rewards, areas = (sum((case[i] for case in cases), []) for i in (0, 1))
    together = srpo_advantages(rewards, areas, 4)
    assert torch.equal(together, torch.cat([srpo_advantages(case[0], case[1], 4) for case in cases]))


def test_ties_survive_the_rounding_of_rewards():
    """All three bins mean 0.15, but in float32 rewards, whose means differ in the ninth place."""
    rewards = torch.tensor([0.1, 0.2, 0.15, 0.15, 0.3, 0.0])
    assert len(set(rewards.double().view(3, 2).mean(dim=1).tolist())) > 1, (
        "without a tolerance one bin would win"
    )
    areas = [SMALL, SMALL, MEDIUM, MEDIUM, LARGE, LARGE]
    assert srpo_advantages(rewards, areas, 6, intra=False).tolist() == [0.0] * 6
    assert srpo_advantages(rewards + torch.eye(6)[0] * 1e-4, areas, 6, intra=False)[0] > 0, "a real lead wins"


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 0, 4, 1, 5, 3]])
def test_no_scale_is_preferred_by_its_order(order):
    rewards = torch.tensor([0.6, 0.1, 0.3, 0.4, 0.7, 0.0])[order]
    areas = torch.tensor([SMALL, SMALL, MEDIUM, MEDIUM, LARGE, LARGE])[order]
    assert srpo_advantages(rewards, areas, 6, intra=False).tolist() == [0.0] * 6


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7, 1.0, 2.3, -5.1, 1000.1])
@pytest.mark.parametrize("group_size", [1, 2, 3, 7, 8, 12])
def test_constant_rewards_give_exactly_zero(value, group_size):
    """TRL's own arithmetic leaves up to 1e-3 here: rounding noise divided by eps."""
    rewards = torch.full((2 * group_size,), value)
    areas = torch.linspace(0, 1, 2 * group_size)
    assert grpo_advantages(rewards, group_size).tolist() == [0.0] * (2 * group_size)
    assert srpo_advantages(rewards, areas, group_size).tolist() == [0.0] * (2 * group_size)


@pytest.mark.parametrize("group_size", [2, 3, 7, 8, 16, 33])
def test_grpo_equals_trl_to_the_last_bit(group_size):
    generator = torch.Generator().manual_seed(group_size)
    rewards = torch.rand(64 * group_size, generator=generator) * 3
    assert torch.equal(grpo_advantages(rewards, group_size), trl_advantages(rewards, group_size))


def test_grpo_equals_trl_with_its_own_std():
    """The same with `nanstd` as TRL ships it, so that a change of TRL shows."""
    nanstd = pytest.importorskip("trl.trainer.utils").nanstd
    rewards = torch.rand(64, 8, generator=torch.Generator().manual_seed(0)) * 3
    expected = (rewards - torch.nanmean(rewards, dim=1, keepdim=True)) / (
        nanstd(rewards, dim=1, keepdim=True) + 1e-4
    )
    assert torch.equal(grpo_advantages(rewards.flatten(), 8), expected.flatten())


def test_inputs_of_other_kinds_and_results_without_gradient():
    rewards = torch.tensor([0.0, 1.0, 0.5, 0.25], dtype=torch.float64, requires_grad=True)
    areas = torch.tensor([0, 0, 1, 1])
    expected = srpo_advantages([0.0, 1.0, 0.5, 0.25], [0.0, 0.0, 1.0, 1.0], 4)
    for given_rewards in (rewards, rewards.detach().half(), rewards.detach().bfloat16()):
        advantages = srpo_advantages(given_rewards, areas, 4)
        assert torch.equal(advantages, expected)
        assert advantages.dtype == torch.float32
        assert not advantages.requires_grad
    assert rewards.tolist() == [0.0, 1.0, 0.5, 0.25], "left as they were"
    assert srpo_advantages([], [], 8).shape == (0,)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_on_a_gpu_results_stay_there_and_agree():
    generator = torch.Generator().manual_seed(0)
    rewards, areas = torch.rand(800, generator=generator), torch.rand(800, generator=generator)
    advantages = srpo_advantages(rewards.cuda(), areas.cuda(), 8)
    assert advantages.device.type == "cuda"
    torch.testing.assert_close(advantages.cpu(), srpo_advantages(rewards, areas, 8), atol=1e-5, rtol=1e-5)
    assert torch.equal(grpo_advantages(rewards.cuda(), 8), trl_advantages(rewards.cuda(), 8))
    same_bin = torch.full_like(areas, SMALL).cuda()
    assert torch.equal(srpo_advantages(rewards.cuda(), same_bin, 8), grpo_advantages(rewards.cuda(), 8))


@st.composite
def groups(draw):
    """Rewards as rewards are (sums of shares and weights), areas, group size, number of bins."""
    group_size, num_prompts, num_bins = (
        draw(st.integers(1, 9)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 5)),
    )
    count = group_size * num_prompts
    rewards = draw(
        st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.6, 1.0, 1.6, 3.0]), min_size=count, max_size=count)
    )
    areas = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    return torch.tensor(rewards), torch.tensor(areas, dtype=torch.float64), group_size, num_bins


@given(groups())
def test_bins_are_those_of_the_formula(group):
    _, areas, _, num_bins = group
    expected = [min(math.floor(num_bins * area), num_bins - 1) for area in areas.tolist()]
    assert scale_bins(areas, num_bins).tolist() == expected


@given(groups(), st.floats(0, 1))
def test_one_bin_occupied_is_grpo_to_the_last_bit(group, area):
    rewards, areas, size, num_bins = group
    same_bin = torch.full_like(areas, area)
    expected = grpo_advantages(rewards, size)
    assert torch.equal(srpo_advantages(rewards, same_bin, size, num_bins=num_bins), expected)
    assert torch.equal(srpo_advantages(rewards, same_bin, size, num_bins=num_bins, inter=False), expected)
    assert torch.equal(srpo_advantages(rewards, areas, size, num_bins=1), expected)
    assert not srpo_advantages(rewards, same_bin, size, num_bins=num_bins, intra=False).any()


@given(groups(), st.sampled_from([-2.0, -0.5, 0.25, 1.0, 10.0]))
def test_adding_a_constant_changes_nothing(group, constant):
    rewards, areas, size, num_bins = group
    shifted = rewards + constant
    torch.testing.assert_close(
        grpo_advantages(shifted, size), grpo_advantages(rewards, size), atol=1e-3, rtol=1e-3
    )
    plain, moved = (srpo_advantages(r, areas, size, num_bins=num_bins) for r in (rewards, shifted))
    torch.testing.assert_close(moved, plain, atol=1e-3, rtol=1e-3)


@given(groups(), st.randoms(use_true_random=False))
def test_permuting_trajectories_permutes_advantages(group, random):
    rewards, areas, size, num_bins = group
    order = [start + i for start in range(0, len(rewards), size) for i in random.sample(range(size), size)]
    plain = srpo_advantages(rewards, areas, size, num_bins=num_bins)
    permuted = srpo_advantages(rewards[order], areas[order], size, num_bins=num_bins)
    torch.testing.assert_close(permuted, plain[order], atol=1e-5, rtol=1e-5)


@given(groups())
def test_both_terms_are_centred_and_add_up(group):
    rewards, areas, size, num_bins = group
    terms = {
        name: srpo_advantages(rewards, areas, size, num_bins=num_bins, intra=intra, inter=inter).view(
            -1, size
        )
        for name, intra, inter in (("both", True, True), ("intra", True, False), ("inter", False, True))
    }
    assert torch.equal(terms["both"], terms["intra"] + terms["inter"])
    assert terms["inter"].mean(dim=1).abs().max() < 1e-5
    bins = scale_bins(areas, num_bins).view(-1, size)
    for prompt, prompt_bins in enumerate(bins):
        for one in prompt_bins.unique():
            members = terms["intra"][prompt][prompt_bins == one]
            # The tolerance is in units of eps: where rewards differ by rounding alone the std is as small as they are.
            assert abs(members.mean()) < 1e-3
            if len(members) == 1 and len(prompt_bins.unique()) > 1:
                assert members.item() == 0.0


@given(groups())
def test_within_a_bin_a_higher_reward_is_never_a_lower_advantage(group):
    rewards, areas, size, num_bins = group
    advantages = srpo_advantages(rewards, areas, size, num_bins=num_bins).view(-1, size, 1)
    reward, bins = rewards.view(-1, size, 1), scale_bins(areas, num_bins).view(-1, size, 1)
    pairs = (bins == bins.transpose(1, 2)) & (reward >= reward.transpose(1, 2))  # (P, G, G)
    assert (advantages - advantages.transpose(1, 2))[pairs].min() >= -1e-6
