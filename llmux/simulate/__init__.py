# -*- test-case-name: llmux.test.test_simulate_run -*-
"""
Try policies on traffic, in virtual time and without models.

L{simulate} runs the real switcher and a real policy through a trace.  Its
command is C{llmux simulate}.
"""

from __future__ import annotations

from llmux.simulate.costfile import FailureRates, ModelCost, readCosts
from llmux.simulate.report import Report, Waits
from llmux.simulate.run import simulate
from llmux.simulate.trace import Arrival, readTrace

__all__ = [
    "Arrival",
    "FailureRates",
    "ModelCost",
    "Report",
    "Waits",
    "readCosts",
    "readTrace",
    "simulate",
]
