"""The configuration of a run: class defaults, then the YAML file, then `key=value` pairs; later layers win."""

from aepo.config.checks import algorithm_names, parse, validated
from aepo.config.files import change, dump, flat, load, merged, read, split
from aepo.config.sections import (
    BudgetConfig,
    Config,
    ConfigError,
    EvaluationConfig,
    LoraConfig,
    ModelConfig,
    PriceConfig,
    RateConfig,
    RewardsConfig,
    RolloutConfig,
    Section,
    TaskConfig,
    ToolLimits,
    ToolsConfig,
    TrainConfig,
)

__all__ = [
    "BudgetConfig",
    "Config",
    "ConfigError",
    "EvaluationConfig",
    "LoraConfig",
    "ModelConfig",
    "PriceConfig",
    "RateConfig",
    "RewardsConfig",
    "RolloutConfig",
    "Section",
    "TaskConfig",
    "ToolLimits",
    "ToolsConfig",
    "TrainConfig",
    "algorithm_names",
    "change",
    "dump",
    "flat",
    "load",
    "merged",
    "parse",
    "read",
    "split",
    "validated",
]
