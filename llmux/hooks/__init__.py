"""
The hooks: a user's three scripts for each model, run as processes, bounded in
time and in what they may print.
"""

from llmux.hooks._output import HookOutput, OutputLine, OutputRing
from llmux.hooks._shell import ShellHooks

__all__ = ["HookOutput", "OutputLine", "OutputRing", "ShellHooks"]
