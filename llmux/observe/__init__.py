"""
What is told of llmux's doings: the log, and the metrics.
"""

from llmux.observe._fanout import FanOut
from llmux.observe.log import EventLog
from llmux.observe.metrics import Metrics

__all__ = ["EventLog", "FanOut", "Metrics"]
