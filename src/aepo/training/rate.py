"""The learning rate of `train.learning_rate: auto`."""

from __future__ import annotations

from aepo.config import Config


def automatic_rate(parameters: int, adapter: bool) -> float:
    """A learning rate for a model: 1e-6 (7e9 / parameters)^(2/3), at least 1e-6; ten times that for an adapter.

    The power goes through two rates: 1e-6 at 7 billion parameters, AEPO's (arXiv 2510.14545), and 3e-4 at 1.2 million,
    which was measured with the model `atlas`. The factor of adapters is that of Schulman, "LoRA Without Regret" (2025).

    Args:
        parameters: Those of the whole model.
        adapter: Whether a LoRA adapter is trained.
    """
    whole = max(1e-6, 1e-6 * (7e9 / parameters) ** (2 / 3))
    return float(f"{whole * (10 if adapter else 1):.2g}")


def with_rate(config: Config, parameters: int) -> Config:
    """The configuration with a number in place of `auto`.

    Args:
        config: The run's.
        parameters: Those of its whole model.
    """
    if config.train.learning_rate != "auto":
        return config
    rate = automatic_rate(parameters, config.model.lora is not None)
    return config.model_copy(update={"train": config.train.model_copy(update={"learning_rate": rate})})
