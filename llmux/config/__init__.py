"""
The configuration: YAML or JSON in, values out, every error named by its file,
line and key.
"""

from llmux.config._access import ApiKey
from llmux.config._load import load, parse
from llmux.config._shape import Shape
from llmux.config._values import (
    Alias,
    Config,
    Limits,
    ModelConfig,
    PolicyConfig,
    Resource,
    Timeouts,
)

__all__ = [
    "Alias",
    "ApiKey",
    "Config",
    "Limits",
    "ModelConfig",
    "PolicyConfig",
    "Resource",
    "Shape",
    "Timeouts",
    "load",
    "parse",
]
