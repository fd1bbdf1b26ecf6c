"""Two parts of AEPO in a training loop of your own: `python examples/02_parts_in_your_loop.py`, seconds on a CPU.

The loop below is any policy-gradient loop: sample, score, compare inside a group, take some clipped steps. It takes two
functions of this package and nothing else of it. They need torch only, and tensors of shape (B, T).
"""

import torch
from torch import Tensor, nn

from aepo.core.advantages import entropy_aware
from aepo.core.losses import entropy_balanced

QUESTIONS, GROUP, LENGTH, DIGITS = 48, 8, 8, 10


class Policy(nn.Module):
    """Writes eight digits in answer to one; each depends on the question, the place and the digit before."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.asked, self.before = nn.Embedding(DIGITS, width), nn.Embedding(DIGITS, width)
        self.places, self.out = nn.Embedding(LENGTH, width), nn.Linear(width, DIGITS)

    def forward(self, asked_B: Tensor, written_BT: Tensor) -> Tensor:
        """(B, T, V), ln p of each digit at each place."""
        before_BT = torch.cat([asked_B[:, None], written_BT], dim=1)[:, :LENGTH]
        places_T = self.places(torch.arange(before_BT.shape[1]))
        return self.out(torch.relu(self.asked(asked_B)[:, None] + self.before(before_BT) + places_T)).log_softmax(-1)


def sample(policy: Policy, asked_B: Tensor) -> Tensor:
    """(B, T), digits."""
    written_BT = asked_B.new_zeros(len(asked_B), 0)
    for _ in range(LENGTH):
        next_B1 = torch.multinomial(policy(asked_B, written_BT)[:, -1].exp(), 1)
        written_BT = torch.cat([written_BT, next_B1], dim=1)
    return written_BT


def reward(asked_B: Tensor, written_BT: Tensor) -> Tensor:
    """(B,), the share of digits that count on from the question: 3 is to be answered with 45678901."""
    return (written_BT == (asked_B[:, None] + torch.arange(LENGTH) + 1) % DIGITS).float().mean(1)


def main(steps: int = 100) -> None:
    """Train, and print the reward as it grows."""
    torch.manual_seed(0)
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for step in range(steps + 1):
        asked_B = torch.randint(DIGITS, (QUESTIONS,)).repeat_interleave(GROUP)
        with torch.no_grad():
            written_BT = sample(policy, asked_B)
            old_BTV = policy(asked_B, written_BT)
        old_BT = old_BTV.gather(-1, written_BT[..., None])[..., 0]
        entropies_BT = -(old_BTV.exp() * old_BTV).sum(-1)
        mask_BT = torch.ones_like(written_BT)

        rewards = reward(asked_B, written_BT).view(QUESTIONS, GROUP)
        if step % 20 == 0:
            print(f"step {step:3}: reward {rewards.mean():.2f}, entropy {entropies_BT.mean():.2f} nats")
        advantages = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-6)
        advantages_BT = entropy_aware(advantages.view(-1, 1), entropies_BT, mask_BT)  # instead of advantages

        for _ in range(3):
            logprobs_BT = policy(asked_B, written_BT).gather(-1, written_BT[..., None])[..., 0]
            losses_BT = entropy_balanced(logprobs_BT, old_BT, advantages_BT)  # instead of the clipped loss
            loss = (losses_BT * mask_BT).sum() / mask_BT.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
