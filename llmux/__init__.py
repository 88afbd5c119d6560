"""
Many language models behind one address, woken and put to sleep on demand.
"""

from llmux._version import __version__

__all__ = ["__version__"]
