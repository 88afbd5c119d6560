"""
The configuration: YAML or JSON in, values out, every error named by its file,
line and key.
"""

from llmux.config._load import load, parse
from llmux.config._values import (
    Config,
    Limits,
    ModelConfig,
    PolicyConfig,
    Timeouts,
)

__all__ = [
    "Config",
    "Limits",
    "ModelConfig",
    "PolicyConfig",
    "Timeouts",
    "load",
    "parse",
]
