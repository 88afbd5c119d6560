# -*- test-case-name: llmux.test.test_config_access -*-
"""
Who may use llmux: keys, and the names and pages by which it may be reached.
"""

from __future__ import annotations

import re
from hashlib import sha256

from attrs import field, frozen

from llmux.config._keys import key as about

__all__ = ()

#: Characters of the longest key.  A head has to have room for it.
LONGEST_KEY = 4096

_HASHED = re.compile(r"sha256:([0-9A-Fa-f]{64})")
_LABELS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[!-)+-.0->@-~]+")


def badKey(text: str) -> str:
    """
    A key, or the hash of one.
    """
    if not re.fullmatch(r"[!-~]+", text):
        return "must have no spaces and none but ASCII characters"
    if len(text) > LONGEST_KEY:
        return f"has {len(text):,} characters; a key has {LONGEST_KEY:,} at most"
    if text.startswith("sha256:") and not _HASHED.fullmatch(text):
        return "must have 64 hexadecimal digits after sha256:"
    return ""


def badHostName(text: str) -> str:
    """
    A host by which llmux may be asked.
    """
    if text == "*" or (_LABELS.fullmatch(text) and len(text) <= 253):
        return ""
    return "must be a name such as llm.example.com, without a port, or *"


def badOrigin(text: str) -> str:
    """
    An origin of pages.
    """
    if text == "*" or _ORIGIN.fullmatch(text):
        return ""
    return "must be an origin such as https://chat.example.com, without a path, or *"


@frozen
class ApiKey:
    """
    A key, and what may be done with it.

    @ivar name: the name under which it stands in L{Config.api_keys}.
    """

    name: str
    key: str = field(
        repr=False,
        metadata=about(
            "The key itself, or ``sha256:`` and the SHA-256 of the key in hexadecimal "
            "digits, so that the key need not stand in the file.",
            "${env:ALICE_KEY}",
            complaint=badKey,
        ),
    )
    models: tuple[str, ...] | None = field(
        default=None,
        metadata=about(
            "The models that may be asked with the key, by their names or aliases; "
            "each may be asked by all of its names, whichever stands here. The "
            "others are not there for it.",
            ["llama"],
            default="all",
        ),
    )
    priority: float = field(
        default=0,
        metadata=about(
            "Is added to the priority of the model for requests with the key; higher "
            "is served first.",
            5,
        ),
    )
    max_priority: float | None = field(
        default=None,
        metadata=about(
            "Up to which number a client may raise ``priority`` for a request, in the "
            "header ``X-LLMux-Priority``. To lower it is free to all.",
            10,
            default="``priority``",
        ),
    )
    max_in_flight: int | None = field(
        default=None,
        metadata=about(
            "How many requests with the key may be there at once, waiting or being "
            "answered. More of them get status 429.",
            8,
            unit="requests",
            low=1,
            default="no limit",
        ),
    )
    operator: bool = field(
        default=False,
        metadata=about(
            "Whether the key is an operator's: for ``/llmux/``, ``/running``, "
            "``/api/models/unload`` and ``/metrics``.",
            True,
        ),
    )
    metrics: bool = field(
        default=False,
        metadata=about(
            "Whether ``/metrics`` may be read with the key, if it is no operator's.",
            True,
        ),
    )

    @property
    def digest(self) -> bytes:
        """
        The SHA-256 of the key.
        """
        hashed = _HASHED.fullmatch(self.key)
        if hashed is not None:
            return bytes.fromhex(hashed[1])
        return sha256(self.key.encode("utf-8")).digest()
