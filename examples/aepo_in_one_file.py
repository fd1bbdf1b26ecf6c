"""AEPO (arXiv 2510.14545) in one file: `python examples/aepo_in_one_file.py`, some seconds on a CPU, torch alone.

To be read from top to bottom. An agent gets a word, and a book that it has never seen: each word has a page, on which
another word stands. It must look its word up, look up what it finds there, and say what stands on that second page. It
starts from random weights and learns by AEPO:

1. a world with a tool, and a policy small enough to read;
2. how many trajectories start from the question (the budget rule);
3. after which tool results new ones branch off (the branching rule);
4. the explorer, which carries both out;
5. what each token is worth (the entropy-aware advantage);
6. the loss (a clip that keeps the gradient of good tokens);
7. training.

The package does the same for real models, with an engine that batches and caches, tools that take their time, and
everything written down. The functions of 2, 3, 5 and 6 equal those of `aepo.core`, by test.
"""

import math
import random
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

# ----------------------------------------------------------------------------------------------------------------------
# 1. The world and the policy
#
# A trajectory is a row of tokens: the question's word, then turns. A turn is a verb and a word, both written by the
# policy. After LOOK the world adds what stands on that page, an observation; after SAY the trajectory has ended.

WORDS = 6
LOOK, SAY = WORDS, WORDS + 1
MAX_CALLS = 4


@dataclass(frozen=True)
class Question:
    """A word to start from, and the book: what stands on each page. No two pages say the same."""

    word: int
    book: tuple[int, ...]

    def reward(self, read: list[int], answer: int | None) -> float:
        """1 for what stands on the second page, 0.3 for what stands on the first; nothing for a guess."""
        first = self.book[self.word]
        right = {self.word: 0.3, first: 1.0}
        return max((right.get(page, 0.0) for page in read if self.book[page] == answer), default=0.0)


def ask(rng: random.Random) -> Question:
    """A question with a book of its own: nothing can be known without looking."""
    return Question(rng.randrange(WORDS), tuple(rng.sample(range(WORDS), WORDS)))


class Policy(nn.Module):
    """Reads the last two tokens and the place. That is all it takes to copy a word to behind a verb."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS + 2, width)
        self.before = nn.Embedding(WORDS + 2, width)
        self.places = nn.Embedding(1 + 3 * (MAX_CALLS + 1), width)
        self.out = nn.Linear(width, WORDS + 2)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """(B, T, V), ln p of every token that may follow each."""
        before_BT = torch.cat([tokens_BT[:, :1], tokens_BT[:, :-1]], dim=1)
        hidden = self.words(tokens_BT) + self.before(before_BT) + self.places(torch.arange(tokens_BT.shape[1]))
        # After a verb comes a word, after anything else a verb.
        is_verb = torch.arange(WORDS + 2) >= WORDS
        refused = is_verb == (tokens_BT >= WORDS)[..., None]
        return self.out(torch.relu(hidden)).masked_fill(refused, -1e9).log_softmax(-1)


# ----------------------------------------------------------------------------------------------------------------------
# 2. The budget rule: of k trajectories m start from the question, the other k - m may branch off later.
#
# One probe trajectory tells where this question is uncertain. If it is at the question itself (H_root), fresh starts
# are worth more; if it is after tool results (H_tool), branches are. The probe is the first of the m.


def global_samples(gap: float, k: int, beta: float = 1.0, min_global: float = 0.25) -> int:
    """Rounded k sigmoid(beta gap), at least ceil(min_global k); gap is the scaled H_root - mean H_tool."""
    sigmoid = 0.5 + 0.5 * math.tanh(0.5 * beta * gap)
    wanted = math.floor(k * sigmoid + 0.5)
    return min(max(wanted, 1, math.ceil(min_global * k - 1e-9)), k)


class Scale:
    """Divides entropy differences by their running root mean square, so that beta and gamma fit any model."""

    def __init__(self, decay: float = 0.9) -> None:
        self.decay, self.mean_square, self.steps = decay, 1.0, 0

    def __call__(self, difference: float) -> float:
        return difference / max(math.sqrt(self.mean_square), 1e-6)

    def update(self, differences: list[float]) -> None:
        """Take a whole step's differences in."""
        if differences:
            self.steps += 1
            now = sum(d * d for d in differences) / len(differences)
            # The divisor makes the first steps an average too.
            share = (1.0 - self.decay) / (1.0 - self.decay**self.steps)
            self.mean_square += (now - self.mean_square) * share


# ----------------------------------------------------------------------------------------------------------------------
# 3. The branching rule: a path that became more uncertain by what it was told gets a sibling right there.
#
# dH is the scaled rise of entropy since the question; l is how often in a row the path was uncertain enough, whether or
# not a branch was left, and each time makes the next less likely. Pacing keeps the whole budget from being spent after
# the first tool result.


def branch_probability(
    delta: float, consecutive: int, alpha: float = 0.5, gamma: float = 0.2, penalty: float = 0.05
) -> float:
    """P = clip((alpha + gamma dH) max(0, 1 - penalty l), 0, 1)."""
    return min(max((alpha + gamma * delta) * max(0.0, 1.0 - penalty * consecutive), 0.0), 1.0)


def quota(budget: int, observation: int, mean_observations: float) -> int:
    """Branches that may have started once all i-th observations are decided: ceil(budget i / T), at most budget."""
    return min(budget, math.ceil(budget * observation / max(mean_observations, 1.0) - 1e-9))


# ----------------------------------------------------------------------------------------------------------------------
# 4. The explorer: k trajectories for each question.


@dataclass
class Path:
    """A trajectory while it grows."""

    question: Question
    tokens: list[int]
    mask: list[int] = field(default_factory=lambda: [0])
    logprobs: list[float] = field(default_factory=lambda: [0.0])
    entropies: list[float] = field(default_factory=lambda: [0.0])
    turns: list[float] = field(default_factory=list)  # mean entropy of each: H_root, then H_t after each observation
    starts: list[int] = field(default_factory=lambda: [1])  # where each turn starts; a branch is cut there
    consecutive: int = 0
    answer: int | None = None
    ended: bool = False

    @property
    def observations(self) -> int:
        """How many pages it has read."""
        return len(self.starts) - 1

    @property
    def reward(self) -> float:
        """What its answer is worth."""
        return self.question.reward([self.tokens[start - 2] for start in self.starts[1:]], self.answer)

    def write(self, token: int, mask: int, logprob: float = 0.0, entropy: float = 0.0) -> None:
        self.tokens.append(token)
        self.mask.append(mask)
        self.logprobs.append(logprob)
        self.entropies.append(entropy)

    def branch(self, observation: int) -> "Path":
        """A new path that shares everything up to and with an observation, and nothing of what was written then."""
        cut = self.starts[observation]
        shared = [column[:cut] for column in (self.tokens, self.mask, self.logprobs, self.entropies)]
        turns, starts = self.turns[:observation], self.starts[: observation + 1]
        return Path(self.question, *shared, turns, starts, self.consecutive)


def start(question: Question) -> Path:
    """A path at the question."""
    return Path(question, [question.word])


@torch.no_grad()
def take_turns(policy: Policy, paths: list[Path]) -> None:
    """Each path writes a verb and a word, and is told what stands on the page or ends."""
    for _ in range(2 if paths else 0):
        last = torch.tensor([len(path.tokens) - 1 for path in paths])
        tokens_BT = nn.utils.rnn.pad_sequence([torch.tensor(path.tokens) for path in paths], batch_first=True)
        logprobs_BV = policy(tokens_BT)[torch.arange(len(paths)), last]
        entropies_B = -(logprobs_BV.exp() * logprobs_BV).sum(-1)
        tokens_B = torch.multinomial(logprobs_BV.exp(), 1)[:, 0]
        chosen_B = logprobs_BV.gather(1, tokens_B[:, None])[:, 0]
        columns = zip(paths, tokens_B.tolist(), chosen_B.tolist(), entropies_B.tolist(), strict=True)
        for path, token, logprob, entropy in columns:
            path.write(token, 1, logprob, entropy)
    for path in paths:
        verb, word = path.tokens[-2:]
        path.turns.append(sum(path.entropies[-2:]) / 2)
        if verb == SAY:
            path.answer = word
        if verb == SAY or path.observations == MAX_CALLS:
            path.ended = True
        else:
            path.write(path.question.book[word], 0)
            path.starts.append(len(path.tokens))


def finish(policy: Policy, paths: list[Path]) -> None:
    """Let paths go on until all have ended."""
    while living := [path for path in paths if not path.ended]:
        take_turns(policy, living)


@dataclass
class Run:
    """What exploring has learned about the policy's entropies; it changes once a step, from the whole step."""

    gap: Scale = field(default_factory=Scale)
    delta: Scale = field(default_factory=Scale)
    mean_observations: float = 1.0
    branches: int = 0


def explore(policy: Policy, questions: list[Question], k: int, run: Run, tau: float = 0.6) -> list[list[Path]]:
    """One group of exactly k trajectories a question; `run` is brought up to date at the end."""
    groups = [[start(question)] for question in questions]
    finish(policy, [path for group in groups for path in group])

    # How many start from the question. A probe that read no page says nothing: then half of them do.
    gaps = [p.turns[0] - sum(p.turns[1:]) / len(p.turns[1:]) if p.turns[1:] else 0.0 for (p,) in groups]
    budgets = [k - global_samples(run.gap(gap), k) for gap in gaps]
    for group, budget in zip(groups, budgets, strict=True):
        group += [start(group[0].question) for _ in range(k - budget - 1)]
    take_turns(policy, [path for group in groups for path in group if not path.ended])

    # After the i-th observation of every path: they all write their next turn, then it is decided where to branch.
    deltas: list[float] = []
    used = [0] * len(groups)
    for i in range(1, MAX_CALLS + 1):
        take_turns(policy, [p for group in groups for p in group if not p.ended and p.observations == i])
        for number, group in enumerate(groups):
            candidates = [path for path in group if len(path.turns) > i]
            rises = {id(path): path.turns[i] - path.turns[0] for path in candidates}
            deltas += rises.values()
            chances = {id(p): branch_probability(run.delta(rises[id(p)]), p.consecutive) for p in candidates}
            for path in sorted(candidates, key=lambda p: -chances[id(p)]):
                allowed = used[number] < quota(budgets[number], i, run.mean_observations)
                uncertain = branch_probability(run.delta(rises[id(path)]), 0) > tau
                path.consecutive = path.consecutive + 1 if uncertain else 0
                if chances[id(path)] > tau and allowed:
                    group.append(path.branch(i))
                    used[number] += 1
        take_turns(policy, [p for group in groups for p in group if not p.ended and p.observations == i])

    # What could not be spent on branches starts from the question.
    for group in groups:
        group += [start(group[0].question) for _ in range(k - len(group))]
    paths = [path for group in groups for path in group]
    finish(policy, paths)

    run.gap.update([gap for gap, (probe, *_) in zip(gaps, groups, strict=True) if probe.turns[1:]])
    run.delta.update(deltas)
    run.mean_observations = sum(path.observations for path in paths) / len(paths)
    run.branches = sum(used)
    return groups


# ----------------------------------------------------------------------------------------------------------------------
# 5. The advantage: rewards compared inside a group, larger where the policy was uncertain.


def group_relative(rewards_GK: Tensor) -> Tensor:
    """(G, K): (R - mean R) / (std R + 1e-6) inside each group; a group of equal rewards gives 0."""
    advantages = (rewards_GK - rewards_GK.mean(1, keepdim=True)) / (rewards_GK.std(1, keepdim=True) + 1e-6)
    equal = rewards_GK.amax(1, keepdim=True) == rewards_GK.amin(1, keepdim=True)
    return torch.where(equal, torch.zeros_like(advantages), advantages)


def entropy_aware(advantages_B1: Tensor, entropies_BT: Tensor, mask_BT: Tensor, weight: float = 0.2) -> Tensor:
    """(B, T): A_it = A_i max(0, 1 + weight z_it), z over all tokens that the policy wrote."""
    written = entropies_BT[mask_BT != 0]
    z_BT = (entropies_BT - written.mean()) / (written.std() + 1e-6)
    return advantages_B1 * (1.0 + weight * z_BT).clamp(min=0.0) * mask_BT


# ----------------------------------------------------------------------------------------------------------------------
# 6. The loss: ordinary clipping silences a good token whose probability rose by more than 20 %. That is just what an
# uncertain token does when it is learned. Here its gradient stays, as large as at the border.


def entropy_balanced(
    logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float = 0.2, dual_clip: float = 3.0
) -> Tensor:
    """-min(r A, clip(r, 1 - clip, (1 + clip) / sg(r) r) A), r = exp(logp - old); sg stops the gradient."""
    ratio = torch.exp((logprobs - old).clamp(-20.0, 20.0))
    # Worth 1, with the gradient of logp: the value is that of ordinary clipping, the gradient is not.
    one = torch.exp(logprobs - logprobs.detach())
    good = torch.where(ratio > 1.0 + clip, (1.0 + clip) * one, ratio)
    bad = ratio.clamp(1.0 - clip, dual_clip)
    return -torch.where(advantages > 0, good, bad) * advantages


# ----------------------------------------------------------------------------------------------------------------------
# 7. Training: explore, compare, take some optimizer steps, again.


def padded(rows: list[list[float]]) -> Tensor:
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def success(policy: Policy, questions: list[Question]) -> float:
    """Share of questions that one sampled trajectory answers right."""
    paths = [start(question) for question in questions]
    finish(policy, paths)
    return sum(path.reward == 1.0 for path in paths) / len(paths)


def train(steps: int = 80, questions: int = 32, k: int = 8, seed: int = 0) -> Policy:
    """Learn, and print how it goes."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    held_out = [ask(rng) for _ in range(500)]
    policy, run = Policy(), Run()
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)
    print(f"before: success {success(policy, held_out):.2f}")
    for step in range(1, steps + 1):
        groups = explore(policy, [ask(rng) for _ in range(questions)], k, run)
        paths = [path for group in groups for path in group]
        rewards_GK = torch.tensor([[path.reward for path in group] for group in groups])
        tokens_BT, mask_BT = padded([path.tokens for path in paths]), padded([path.mask for path in paths])
        old_BT, entropies_BT = padded([path.logprobs for path in paths]), padded([path.entropies for path in paths])
        advantages_BT = entropy_aware(group_relative(rewards_GK).reshape(-1, 1), entropies_BT, mask_BT)
        # Questions stay together. From the second part on the policy is no longer the one that sampled.
        for rows in torch.randperm(questions).chunk(4):
            part = (rows[:, None] * k + torch.arange(k)).flatten()
            # What follows a token is told by the policy's output there.
            logprobs_BT = policy(tokens_BT[part, :-1]).gather(-1, tokens_BT[part, 1:, None])[..., 0]
            losses_BT = entropy_balanced(logprobs_BT, old_BT[part, 1:], advantages_BT[part, 1:])
            loss = (losses_BT * mask_BT[part, 1:]).sum() / mask_BT[part].sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if step % 10 == 0:
            entropy = (entropies_BT * mask_BT).sum() / mask_BT.sum()
            print(
                f"step {step:3}: reward {rewards_GK.mean():.2f}, entropy {entropy:.2f} nats, "
                f"{run.mean_observations:.1f} calls a trajectory, {run.branches / questions:.1f} of {k} are branches"
            )
    print(f"after: success {success(policy, held_out):.2f}")
    return policy


if __name__ == "__main__":
    train()
