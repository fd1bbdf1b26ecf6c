"""Which tokens carry the gradient's signal, and which its noise: GRPO's gradient in ten parts, by token entropy.

The trained tokens of a batch are sorted by entropy and cut into tenths; the gradient is the sum of its ten parts. A
factor for each part makes another gradient of the same batches, so factors of any kind can be compared afterwards:
those of AEPO's entropy weight, of an inverse expected length, and the best ones that other batches tell.

    python benchmarks/gradient_by_entropy.py                                    # atlas at the warm start
    python benchmarks/gradient_by_entropy.py --config house --out house.json --figure house.png

On two quiet cores it ends by itself in under 15 minutes (`--minutes`); then the batches until there count.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from pydantic import PrivateAttr
from torch import Tensor

from aepo.algorithms import GRPO
from aepo.algorithms.base import ScoredBatch
from aepo.config import load
from aepo.gradient.measure import ADVANTAGES, SPACES, Amount, Gradients
from aepo.gradient.methods import GradientMethod
from aepo.gradient.quality import bootstrapped, gains, quality
from aepo.gradient.run import measure
from aepo.terminal.table import Lines, show

LIMITS = {"quickstart": ["rollout.max_tool_calls=4"]}
"""Settings that the comparisons in docs/results.md have and the configuration has not."""
TENTHS = 10
WEIGHTS = (0.2, -0.1, -0.2, -0.4)


class Tenth(GRPO):
    """GRPO whose advantage is 0 outside of one tenth of the batch's trained tokens, by entropy.

    Attributes:
        number: The tenth, from 0, lowest entropy first.
    """

    number: int = 0
    _entropies: list[float] = PrivateAttr(default_factory=list)

    def advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, T): GRPO's in the tenth, 0 elsewhere."""
        trained = batch.loss_mask_BT != 0
        order = batch.entropies_BT[trained].argsort(stable=True)
        mine = order[len(order) * self.number // TENTHS : len(order) * (self.number + 1) // TENTHS]
        inside = torch.zeros(len(order), dtype=torch.bool)
        inside[mine] = True
        mask_BT = torch.zeros_like(trained)
        mask_BT[trained] = inside
        self._entropies.append(float(batch.entropies_BT[mask_BT].mean()))
        return super().advantages(batch) * mask_BT

    @property
    def needs_entropy(self) -> bool:
        """It sorts by entropy."""
        return True

    @property
    def needs_every_entropy(self) -> bool:
        """It sorts all tokens."""
        return True

    @property
    def entropy(self) -> float:
        """Mean entropy of its tokens, in nats."""
        return fmean(self._entropies)


def methods(size: int, weights: Sequence[float] = WEIGHTS) -> list[GradientMethod]:
    """GRPO, its ten parts, and GRPO with entropy weights."""
    parts = [GradientMethod(f"tenth {number + 1}", Tenth(group_size=size, number=number)) for number in range(TENTHS)]
    weighted = [GradientMethod(f"{weight:+}", GRPO(group_size=size, entropy_weight=weight)) for weight in weights]
    return [GradientMethod("grpo", GRPO(group_size=size)), *parts, *weighted]


def parts_of(measured: Gradients, advantages: str, space: str) -> Tensor:
    """(10, N, D): the parts of each batch's gradient."""
    found = [measured.gradients[advantages, space, f"tenth {number + 1}"] for number in range(TENTHS)]
    return torch.stack([torch.stack(part) for part in found])


def shares(parts_TND: Tensor, reference_MD: Tensor) -> list[dict[str, float]]:
    """Of each part: its share of the signal along the reference and of the noise, its cosine, its signal-to-noise.

    Shares add up to 1: that of the noise is the covariance of the part with the whole, by the variance of the whole.
    """
    parts = parts_TND.double()
    along_T = parts.mean(1) @ reference_MD.double().mean(0)
    off = parts - parts.mean(1, keepdim=True)
    noise_T = torch.einsum("tnd,nd->t", off, off.sum(0))
    qualities = [quality(part, reference_MD) for part in parts_TND]
    return [
        {
            "signal_share": float(along_T[t] / along_T.sum()),
            "noise_share": float(noise_T[t] / noise_T.sum()),
            "cosine": qualities[t].cosine,
            "signal": qualities[t].signal,
        }
        for t in range(TENTHS)
    ]


def best_factors(parts_TND: Tensor, reference_MD: Tensor) -> Tensor:
    """(10,), mean 1: those with most signal along the reference for their noise, on these batches.

    factors ~ (Sigma + a tenth of its mean diagonal)^-1 c, c_t the component of part t along the reference, Sigma the
    parts' covariance, summed over entries.
    """
    parts = parts_TND.double()
    along_T = parts.mean(1) @ reference_MD.double().mean(0)
    off = parts - parts.mean(1, keepdim=True)
    covariance = torch.einsum("tnd,snd->ts", off, off) / (parts.shape[1] - 1)
    ridge = 0.1 * covariance.diagonal().mean() * torch.eye(TENTHS, dtype=torch.float64)
    factors = torch.linalg.solve(covariance + ridge, along_T)
    return factors / factors.mean()


def weighed(parts_TND: Tensor, factors_T: Tensor) -> Tensor:
    """(N, D): the gradients of the batches with a factor for each part."""
    return torch.einsum("t,tnd->nd", factors_T.to(parts_TND.dtype), parts_TND)


def made(measured: Gradients, advantages: str, space: str) -> dict[str, Tensor]:
    """The gradients of each way to weigh, one row a batch; the same batches for all."""
    parts = parts_of(measured, advantages, space)
    reference = torch.stack(measured.reference[advantages, space])
    length_T = torch.stack([part.double().var(0).sum().sqrt() for part in parts])
    floor = 0.1 * float(length_T.max())
    found = {"as it is": torch.stack(measured.gradients[advantages, space, "grpo"])}
    for weight in WEIGHTS:
        if (key := (advantages, space, f"{weight:+}")) in measured.gradients:
            found[f"entropy weight {weight:+}"] = torch.stack(measured.gradients[key])
    found["without the highest tenth"] = weighed(parts, torch.tensor([1.0] * 9 + [0.0]))
    found["the highest two tenths alone"] = weighed(parts, torch.tensor([0.0] * 8 + [1.0] * 2))
    found["by 1 / length"] = weighed(parts, 1 / length_T.clamp(min=floor))
    # Factors of even batches weigh odd ones, and the other way round.
    crossed = torch.empty_like(found["as it is"])
    for fitted, used in ((0, 1), (1, 0)):
        factors = best_factors(parts[:, fitted::2], reference[fitted::2])
        crossed[used::2] = weighed(parts[:, used::2], factors)
    found["best factors, of other batches"] = crossed
    return found


def tables(measured: Gradients, compared: list[GradientMethod]) -> tuple[list[Lines], list[dict[str, Any]]]:
    """For each kind of advantages and space: the ten parts, and the ways to weigh."""
    lines: list[Lines] = []
    records: list[dict[str, Any]] = []
    entropies = [m.algorithm.entropy for m in compared if isinstance(m.algorithm, Tenth)]
    for advantages in ADVANTAGES:
        for space in SPACES:
            if (advantages, space) not in measured.reference:
                continue
            reference = torch.stack(measured.reference[advantages, space])
            found = shares(parts_of(measured, advantages, space), reference)
            title = f"{advantages}, {space}: tenth of entropy"
            rows: Lines = [[title, "entropy", "share of signal", "share of noise", "cosine", "signal a batch"]]
            for number, (entropy, one) in enumerate(zip(entropies, found, strict=True), 1):
                shown = [one[key] for key in ("signal_share", "noise_share", "cosine", "signal")]
                rows.append([str(number), f"{entropy:.3f}", *(f"{value:.3f}" for value in shown)])
            lines.append(rows)
            ways = made(measured, advantages, space)
            drawn = bootstrapped(list(ways.values()), reference)
            qualities = [quality(one, reference) for one in ways.values()]
            signals = [[one.signal for one in draw] for draw in drawn]
            by_first = gains([one.signal for one in qualities], signals, [1.0] * len(ways), [1.0] * len(ways))
            rows = [[f"{advantages}, {space}: factors", "cosine", "signal a batch", "by GRPO [95 %]"]]
            for name, one, gain in zip(ways, qualities, by_first, strict=True):
                ratio, low, high = gain.batch
                rows.append([name, f"{one.cosine:.2f}", f"{one.signal:.4f}", f"{ratio:.2f} [{low:.2f}, {high:.2f}]"])
            lines.append(rows)
            records.append(
                {
                    "advantages": advantages,
                    "space": space,
                    "entropies": entropies,
                    "tenths": found,
                    "best_factors": best_factors(parts_of(measured, advantages, space), reference).tolist(),
                    "ways": {
                        name: {**vars(one), "by_first": gain.batch}
                        for name, one, gain in zip(ways, qualities, by_first, strict=True)
                    },
                }
            )
    return lines, records


def draw(records: list[dict[str, Any]], file: Path) -> None:
    """A picture of the first record: shares of signal and noise by tenth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
    places = range(1, TENTHS + 1)
    for key, shift, words in (("signal_share", -0.2, "signal"), ("noise_share", 0.2, "noise")):
        heights = [100 * tenth[key] for tenth in records[0]["tenths"]]
        axes.bar([place + shift for place in places], heights, width=0.4, label=words)
    axes.set_xticks(list(places), [f"{entropy:.2f}" for entropy in records[0]["entropies"]])
    axes.set_xlabel("mean entropy of a tenth of the tokens, nats")
    axes.set_ylabel("share, %")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options.add_argument("--config", default="quickstart")
    options.add_argument("--batches", type=int, default=40)
    options.add_argument("--questions", type=int, default=32)
    options.add_argument("--minutes", type=float, default=13.0)
    options.add_argument("--advantages", choices=ADVANTAGES, help="one kind alone, in half of the time")
    options.add_argument("--parts-only", action="store_true", help="leave out GRPO with entropy weights")
    options.add_argument("--out", type=Path, help="JSON file for the figures")
    options.add_argument("--figure", type=Path, help="PNG file for a picture")
    given = options.parse_args()
    config = load(given.config, [*LIMITS.get(given.config, []), *given.overrides])
    compared = methods(config.algorithm.group_size, () if given.parts_only else WEIGHTS)
    amount = Amount(
        given.batches,
        given.batches,
        questions=given.questions,
        minutes=given.minutes,
        seed=config.seed,
        advantages=(given.advantages,) if given.advantages else ADVANTAGES,
    )
    measured = measure(config, compared, amount, partial(print, flush=True))
    lines, records = tables(measured, compared)
    if given.out is not None:
        given.out.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    if given.figure is not None:
        draw(records, given.figure)
    show(lines, [f"{measured.batches} batches of {given.questions} questions, and as many of the reference"])


if __name__ == "__main__":
    main()
