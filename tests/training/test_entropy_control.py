"""The controller of entropy: its weight follows the entropy, its bonus has the gradient of entropy, a run resumes."""

from __future__ import annotations

import pytest
import torch

from aepo import config
from aepo.config import ConfigError, EntropyControlConfig
from aepo.training.batch import Batch
from aepo.training.entropy_control import EntropyControl, with_bonus


def control(**settings: object) -> EntropyControl:
    made = EntropyControl.of(EntropyControlConfig(**settings))
    assert made is not None
    return made


def test_a_band_is_measured_from_the_first_steps_entropy() -> None:
    first = control(rule="band", alpha_max=1.0).after(0.5)
    assert (first.first, first.weight) == (0.5, pytest.approx(1e-4 * 2.718281828 ** (-0.1 * 0.1 / 0.2)))
    low = first.after(0.1)
    assert low.weight / first.weight == pytest.approx(2.718281828 ** (0.1 * 0.1 / 0.2))
    assert low.after(0.3).weight == pytest.approx(low.weight), "inside the band nothing moves"
    assert EntropyControl.of(EntropyControlConfig()) is None


def test_skywork_acts_below_its_target_alone() -> None:
    made = control(rule="skywork", unit="nats", low=0.2, start=0.0)
    below = made.after(0.1).after(0.1)
    assert below.acting == below.weight == pytest.approx(2e-4)
    assert below.after(0.3).acting == 0.0 and below.after(0.3).weight == pytest.approx(1e-4)
    assert made.restored(below.to_dict()) == below


def test_the_expected_gradient_of_the_bonus_is_that_of_entropy() -> None:
    logits = torch.tensor([1.5, 0.2, -0.3, -1.0], dtype=torch.float64, requires_grad=True)
    logp = logits.log_softmax(0)
    entropy = -(logp.exp() * logp).sum()
    (expected,) = torch.autograd.grad(entropy, logits, retain_graph=True)
    # One row a possible token, each with one trained token.
    zeros = torch.zeros(4, 1)
    batch = Batch(zeros, zeros + 1, logp.detach()[:, None], zeros + entropy.item(), zeros, zeros[:, 0], zeros[:, 0])
    advantages = with_bonus(batch, 0.5).advantages_BT[:, 0]
    found = sum(
        p * a * torch.autograd.grad(lp, logits, retain_graph=True)[0]
        for p, a, lp in zip(logp.exp().detach(), advantages, logp, strict=True)
    )
    assert torch.allclose(found, 0.5 * expected, atol=1e-9)
    unmasked = with_bonus(Batch(*(vars(batch) | {"loss_mask_BT": zeros}).values()), 0.5)
    assert (unmasked.advantages_BT == 0).all()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (["train.trust.rule=switch", "train.minibatches=1"], "only one: raise train.minibatches"),
        (["train.trust.bound=0.1"], "does nothing with trust.rule clip"),
        (["train.entropy_control.low=0.9"], "above entropy_control.high 0.8"),
        (["train.trust.beta=20"], "must be between beta_min and beta_max"),
    ],
)
def test_settings_that_cannot_act_are_refused(override: list[str], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        config.load(None, override)
