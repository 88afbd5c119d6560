# -*- test-case-name: llmux.test.test_demo -*-
"""
A toy model server that speaks like OpenAI's and Anthropic's: for trying llmux
out, for tests and for benchmarks.  Run it with C{python -m llmux.demo}.

It knows no language.  What it says follows from its name, the prompt and a
seed alone, so a client can work out with L{reply} what it ought to be told,
byte for byte, and by whom.
"""

from __future__ import annotations

from llmux.demo._text import reply

__all__ = ["reply"]
