"""The configuration of a run: class defaults, then the YAML file, then `key=value` pairs; later layers win."""

from aepo.config.checks import algorithm_names, parse, validated
from aepo.config.control import EntropyControlConfig, TrustConfig
from aepo.config.files import change, dump, flat, load, located, merged, read, shipped, split
from aepo.config.section import ConfigError, Section
from aepo.config.sections import (
    Config,
    EvaluationConfig,
    InstructionsConfig,
    Layout,
    LoraConfig,
    ModelConfig,
    PriceConfig,
    RewardsConfig,
    RolloutConfig,
    TaskConfig,
    TrainConfig,
)
from aepo.config.tools import BudgetConfig, RateConfig, ToolLimits, ToolsConfig

__all__ = [
    "BudgetConfig",
    "Config",
    "ConfigError",
    "EntropyControlConfig",
    "EvaluationConfig",
    "InstructionsConfig",
    "Layout",
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
    "TrustConfig",
    "algorithm_names",
    "change",
    "dump",
    "flat",
    "load",
    "located",
    "merged",
    "parse",
    "read",
    "shipped",
    "split",
    "validated",
]
