# -*- test-case-name: llmux.test.test_hooks_shell -*-
"""
The environment of hooks.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from llmux.config import ModelConfig
from llmux.hooks._address import AddressFile
from llmux.interfaces import HookCall

__all__ = ()

#: What llmux itself says there.
OWN = frozenset(
    {
        *("LLMUX_MODEL", "LLMUX_HOOK", "LLMUX_REASON", "LLMUX_ATTEMPT"),
        *("LLMUX_PEER", "LLMUX_PORT", "LLMUX_URL", "LLMUX_OUTPUT"),
    }
)


def encoded(
    environment: Mapping[str, str], without: Collection[str] = ()
) -> dict[bytes, bytes]:
    """
    An environment as bytes: it may hold what is not UTF-8, and Twisted would
    refuse the str that Python makes of it.
    """
    return {
        os.fsencode(name): os.fsencode(value)
        for name, value in environment.items()
        if name not in without
    }


def wordsFor(
    call: HookCall, model: ModelConfig, file: AddressFile | None
) -> dict[str, str]:
    """
    What llmux says to a hook: only words of the configuration and of its own.
    What clients say never gets here.
    """
    address = call.address or model.address
    own = {
        "LLMUX_MODEL": call.model,
        "LLMUX_HOOK": call.hook.value,
        "LLMUX_PORT": _portOf(address) or str(model.port or ""),
        "LLMUX_URL": address,
        "LLMUX_PEER": call.peer,
        "LLMUX_ATTEMPT": str(call.attempt),
        "LLMUX_REASON": call.reason.value,
    }
    if file is not None:
        own["LLMUX_OUTPUT"] = file.path
    return own


def _portOf(address: str) -> str:
    """
    @return: the port in a base URL, or the empty string.
    """
    if address.startswith("unix:"):
        return ""
    return str(urlsplit(address).port or "")
