# -*- test-case-name: llmux.test.test_web_errors -*-
"""
What a client is told when a request fails.
"""

from __future__ import annotations

import json

from attrs import frozen

__all__ = ()


@frozen
class Answer:
    """
    What a failure is to a client.

    @ivar status: the HTTP status.
    @ivar code: C{error.code} of the envelope.
    @ivar message: C{error.message} of the envelope.
    @ivar param: C{error.param} of the envelope: the field that is wrong.
    @ivar headers: what goes with it beside C{Content-Type}, framing and the
        request id.
    @ivar said: what goes into a stream of events in the place of the
        envelope, if anything does.
    @ivar expected: whether the failure is one of those that this module
        knows; any other ought to be logged with its traceback.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    said: bytes = b""
    expected: bool = True

    def body(self) -> bytes:
        """
        @return: the envelope, as JSON in ASCII on one line.
        """
        error = {
            "message": self.message,
            "type": "llmux_error",
            "param": self.param,
            "code": self.code,
        }
        # The standard library's encoder, as it can write any str there is: a
        # lone surrogate out of somebody's model name must not be the end of
        # the answer that says so.
        return json.dumps({"error": error}).encode("ascii")

    def event(self) -> bytes:
        """
        @return: the envelope as a frame of a C{text/event-stream}, for a
            stream that breaks after its head.
        """
        return b"event: error\ndata: " + (self.said or self.body()) + b"\n\n"
