# -*- test-case-name: llmux.test.test_web_heartbeat -*-
"""
Answers of models' servers that come too late to be answers as they are.
"""

from __future__ import annotations

import json

from attrs import frozen

from llmux.errors import LLMuxError

__all__ = ()


@frozen
class LateAnswer(LLMuxError):
    """
    A model's server has answered a client that has got a head already with
    something that cannot be passed on any more.

    @ivar model: whose server it was.
    @ivar status: the status of the answer.
    @ivar body: its body, as far as that is of use.
    """

    model: str
    status: int
    body: bytes = b""

    def __str__(self) -> str:
        return f"the server of {self.model!r} answered with status {self.status}"


def errorIn(body: bytes) -> bytes:
    """
    The envelope of another server's error, on one line, if it has one.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return b""
    if not isinstance(said, dict) or not said.get("error"):
        return b""
    return json.dumps(said).encode("ascii")
