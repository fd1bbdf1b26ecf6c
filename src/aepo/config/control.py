"""What keeps an update near the policy that sampled, and what keeps the policy's entropy up."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from aepo.config.section import Section

BOUNDS = {"mask_tv": 0.15, "mask_kl": 0.05, "switch": 0.05, "penalty": 0.001}
"""Published for the masks (arXiv 2602.04879), ours for the others."""


class TrustConfig(Section):
    """What keeps an update near the policy that sampled; see `aepo.core.trust`.

    Attributes:
        rule: "clip" is the algorithm's own clip. "mask_tv" and "mask_kl" replace it: a token loses its gradient where
            it leads further away than the bound. "switch" replaces it: a token beyond the bound has a KL term instead
            of its loss. "penalty" adds a KL term to the algorithm's loss.
        bound: Largest change of a token's distribution, or with "penalty" the wanted mean KL in nats; null is 0.15 for
            mask_tv, 0.05 for mask_kl and switch, 0.001 for penalty.
        beta: Weight of the KL term at the start; it rises while the mean KL is above the bound, and falls below it.
        eta: Largest change of ln beta in an optimizer step.
        beta_min: Smallest beta.
        beta_max: Largest beta.
        estimate: How a KL is estimated from the sampled token: "binary", a lower bound without noise, or "k3".
    """

    rule: Literal["clip", "mask_tv", "mask_kl", "switch", "penalty"] = "clip"
    bound: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    beta: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    eta: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    beta_min: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    beta_max: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    estimate: Literal["binary", "k3"] = "binary"

    @property
    def limit(self) -> float:
        """The bound, or its default for the rule."""
        return self.bound if self.bound is not None else BOUNDS[self.rule]

    @property
    def has_kl_term(self) -> bool:
        """Whether the rule adds a KL term to the loss."""
        return self.rule in ("switch", "penalty")

    @model_validator(mode="after")
    def _settings_act(self) -> TrustConfig:
        if self.rule == "clip" and self.bound is not None:
            raise ValueError("trust.bound does nothing with trust.rule clip: choose another rule, or leave it out")
        if not self.beta_min <= self.beta <= self.beta_max:
            raise ValueError(f"trust.beta is {self.beta}, it must be between beta_min and beta_max")
        return self


class EntropyControlConfig(Section):
    """What keeps the policy's entropy up: a bonus whose weight follows the entropy; see `aepo.core.control`.

    The entropy is the mean over the tokens of trajectories from the question, once a step. A bonus can hold it up;
    above the band it can only let go.

    Attributes:
        rule: "none"; "band": the weight rises while entropy is below `low`, and falls while it is above `high`;
            "skywork": it rises by `delta` while entropy is below `low`, where alone it acts, and falls by `delta` else.
        low: Lower end of the band, or Skywork's target.
        high: Upper end of the band.
        unit: "start": `low` and `high` are shares of the first step's entropy; "nats".
        eta: With "band", change of ln weight for an error as large as `low`.
        delta: With "skywork", change of the weight in a step.
        alpha_min: With "band", smallest weight.
        alpha_max: Largest weight.
        start: Weight at the start.
    """

    rule: Literal["none", "band", "skywork"] = "none"
    low: float = Field(default=0.4, gt=0, allow_inf_nan=False)
    high: float = Field(default=0.8, gt=0, allow_inf_nan=False)
    unit: Literal["start", "nats"] = "start"
    eta: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    delta: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    alpha_min: float = Field(default=1e-5, gt=0, allow_inf_nan=False)
    alpha_max: float = Field(default=5e-3, gt=0, allow_inf_nan=False)
    start: float = Field(default=1e-4, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ends_in_order(self) -> EntropyControlConfig:
        if self.low > self.high:
            raise ValueError(f"entropy_control.low is {self.low}, above entropy_control.high {self.high}")
        if self.rule == "band" and not self.alpha_min <= self.start <= self.alpha_max:
            raise ValueError(f"entropy_control.start is {self.start}, it must be between alpha_min and alpha_max")
        return self
