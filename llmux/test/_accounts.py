# -*- test-case-name: llmux.test.test_observe_account -*-
"""
Requests that are over, for tests of what is said of them.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from llmux.observe.account import Account

__all__ = ["Came", "account"]


@frozen
class Came:
    """
    How a request came.
    """

    method: bytes = b"POST"
    target: bytes = b"/v1/chat/completions"
    peer: bytes = b"127.0.0.1"
    requestId: bytes = b"r-1"
    headers: tuple[tuple[bytes, bytes], ...] = ()


def account(
    model: str = "a", status: int = 200, duration: float = 1.0, **more: Any
) -> Account:
    """
    A request that arrived at 100.

    @param more: what else there is to say, by the names of attributes.
    """
    made = Account(more.pop("request", Came()), 100.0)
    made.model, made.status, made.ended = model, status, 100.0 + duration
    for name, value in more.items():
        setattr(made, name, value)
    return made
