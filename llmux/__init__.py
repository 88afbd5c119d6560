"""
Many language models behind one address, woken and put to sleep on demand.

Programs that embed llmux start from L{Multiplexer}, with a configuration from
L{load}, and may serve it by a L{ProxySite}; authors of policies from L{llmux.interfaces} and L{llmux.testing}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmux._version import __version__

if TYPE_CHECKING:
    from llmux.config import Config, load
    from llmux.errors import LLMuxError
    from llmux.service import Multiplexer
    from llmux.switching.inflight import Token
    from llmux.switching.switcher import Switcher
    from llmux.web.site import ProxySite

__all__ = [
    "Config",
    "LLMuxError",
    "Multiplexer",
    "ProxySite",
    "Switcher",
    "Token",
    "__version__",
    "load",
]

_HOMES = {
    "Config": "llmux.config",
    "LLMuxError": "llmux.errors",
    "Multiplexer": "llmux.service",
    "ProxySite": "llmux.web.site",
    "Switcher": "llmux.switching.switcher",
    "Token": "llmux.switching.inflight",
    "load": "llmux.config",
}


def __getattr__(name: str) -> Any:
    # Imported when first asked for: C{llmux --help} needs none of them.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
