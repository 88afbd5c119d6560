# -*- test-case-name: llmux.test.test_web_ollama_answer -*-
"""
Answers of OpenAI's API as Ollama's has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import msgspec

from llmux.errors import LLMuxError
from llmux.web._ollamaasked import Route, Translated, inJSON

__all__ = ()

#: The longest event of a stream, in bytes.
LONGEST = 16 * 1024 * 1024

#: What is said of an answer that was not at its end.
UNFINISHED = "the model's server broke off before its answer was complete"

_NO_JSON = "the model's server did not answer in JSON"
_OTHER = "the model's server answered something else"

#: Why answers end, in Ollama's words.
_REASONS = {"length": "length"}


class Broken(LLMuxError):
    """
    There is no answer, or not all of it: the words say why.
    """


def errorIn(body: bytes) -> str | None:
    """
    The words in an error of OpenAI's shape.

    @return: L{None} if it has another.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = said.get("error") if isinstance(said, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else None


def timeOf(seconds: float) -> str:
    """
    A time as JSON has it.
    """
    at = datetime.fromtimestamp(seconds, timezone.utc)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


class _Vector(msgspec.Struct):
    # As it stands there: to read thousands of numbers and to write them again
    # takes fifty times as long.
    embedding: msgspec.Raw
    index: int = 0


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: dict[str, Any] | None = None


_vectors = msgspec.json.Decoder(_Vectors)


class Answering:
    """
    One answer.
    """

    def __init__(
        self, asked: Translated, name: str, seconds: Callable[[], float]
    ) -> None:
        """
        @ivar isDone: whether the last line of a stream has been made.
        @ivar isBroken: whether that was an error.

        @param asked: what was asked.
        @param name: the name of the model, as the client has it.
        @param seconds: tells the time.
        """
        self._asked = asked
        self._name = name
        self._seconds = seconds
        self._began = seconds()
        self._first: float | None = None
        self._rest = b""
        self._data: list[bytes] = []
        self._calls: dict[int, dict[str, str]] = {}
        self._reason: str | None = None
        self._usage: Mapping[str, Any] = {}
        self.isDone = False
        self.isBroken = False

    @property
    def isStream(self) -> bool:
        """
        Whether the client wants lines.
        """
        return self._asked.isStream

    # An answer that is there as a whole.

    def whole(self, body: bytes) -> bytes:
        """
        Translate a whole answer.

        @raise Broken: it is none.
        """
        if self._asked.route in (Route.EMBED, Route.EMBEDDINGS):
            return self._embedded(body)
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            raise Broken(_NO_JSON) from None
        try:
            choice = said["choices"][0]
            self._usage = said.get("usage") or {}
            self._reason = choice.get("finish_reason") or "stop"
            message = choice["text"] if self._asked.isRaw else choice["message"]
            for call in (not self._asked.isRaw and message.get("tool_calls")) or ():
                self._call({"index": len(self._calls), **call})
            final = self._final()
            self._fill(final, *_wordsOf(message), self._takeCalls())
            return inJSON(final)
        except (LookupError, TypeError, AttributeError):
            raise Broken(_OTHER) from None

    def _embedded(self, body: bytes) -> bytes:
        try:
            said = _vectors.decode(body)
            parts = sorted(said.data, key=lambda part: part.index)
            vectors = [bytes(part.embedding) for part in parts]
            if self._asked.route is Route.EMBEDDINGS:
                return b'{"embedding": %b}\n' % vectors[0]
        except (msgspec.ValidationError, LookupError):
            raise Broken(_OTHER) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Broken(_NO_JSON) from None
        about = {
            "model": self._name,
            "total_duration": self._since(self._began),
            "prompt_eval_count": (said.usage or {}).get("prompt_tokens", 0),
        }
        line = inJSON(about).removesuffix(b"}\n")
        return b'%b, "embeddings": [%b]}\n' % (line, b", ".join(vectors))

    # An answer that comes bit by bit.

    def feed(self, data: bytes) -> bytes:
        """
        Translate a part of a stream of events.

        @return: lines; the last is an error if the server says so, or sends
            something else.
        """
        if self.isBroken:
            return b""
        self._rest += data
        if len(self._rest) > LONGEST:
            self._rest = b""
            return self.broken("the model's server sent an event that is too long")
        # A line may end in the middle of its end.
        text = self._rest.replace(b"\r\n", b"\n")
        *lines, self._rest = text.split(b"\n")
        made: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].lstrip(b" "))
            elif line.startswith(b":") and not self.isDone:
                # Keeps the connection alive, and so has its like to do.
                made.append(inJSON(self._silence()))
            elif not line and self._data:
                event, self._data = b"\n".join(self._data), []
                try:
                    made.extend(map(inJSON, self._event(event)))
                except Broken as error:
                    made.append(self.broken(str(error)))
                    break
        return b"".join(made)

    def broken(self, why: str) -> bytes:
        """
        The answer will not be whole.

        @param why: the reason.
        @return: what there is to say yet.
        """
        if self.isBroken:
            return b""
        self.isDone = self.isBroken = True
        return inJSON({"error": why})

    def end(self) -> bytes:
        """
        The stream has ended as such.

        @return: what there is to say yet, which is an error if it was not at
            its end.
        """
        made = self.feed(b"\n\n")
        if self.isDone:
            return made
        if self._reason is None:
            return made + self.broken(UNFINISHED)
        try:
            return made + b"".join(map(inJSON, self._finish()))
        except Broken as error:
            return made + self.broken(str(error))

    def _event(self, event: bytes) -> Iterator[dict[str, Any]]:
        if self.isDone:
            return
        if event == b"[DONE]":
            yield from self._finish()
            return
        try:
            said = json.loads(event)
            if said.get("error"):
                error = said["error"]
                words = error.get("message") if isinstance(error, dict) else error
                raise Broken(str(words))
            self._usage = said.get("usage") or self._usage
            for choice in (said.get("choices") or ())[:1]:
                yield from self._choice(choice)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise Broken("the model's server sent something else") from None

    def _silence(self) -> dict[str, Any]:
        line = self._line()
        self._fill(line, "", "", [])
        return line

    def _choice(self, choice: Any) -> Iterator[dict[str, Any]]:
        part = choice["text"] if self._asked.isRaw else choice.get("delta") or {}
        words, thoughts = _wordsOf(part)
        for call in (not self._asked.isRaw and part.get("tool_calls")) or ():
            self._call(call)
        self._reason = choice.get("finish_reason") or self._reason
        calls = self._takeCalls() if self._reason is not None else []
        if words or thoughts or calls:
            if self._first is None:
                self._first = self._seconds()
            line = self._line()
            self._fill(line, words, thoughts, calls)
            yield line

    def _finish(self) -> Iterator[dict[str, Any]]:
        self._reason = self._reason or "stop"
        self.isDone = True
        final = self._final()
        self._fill(final, "", "", self._takeCalls())
        yield final

    # What both are made of.

    def _call(self, call: Mapping[str, Any]) -> None:
        # The name comes first, and the arguments bit by bit.
        known = self._calls.setdefault(
            call.get("index") or 0, {"id": "", "name": "", "arguments": ""}
        )
        function = call.get("function") or {}
        known["id"] = call.get("id") or known["id"]
        known["name"] += function.get("name") or ""
        known["arguments"] += function.get("arguments") or ""

    def _takeCalls(self) -> list[dict[str, Any]]:
        calls, self._calls = self._calls, {}
        return [_called(calls[index]) for index in sorted(calls)]

    def _line(self) -> dict[str, Any]:
        return {
            "model": self._name,
            "created_at": timeOf(self._seconds()),
            "done": False,
        }

    def _fill(
        self,
        line: dict[str, Any],
        words: str,
        thoughts: str,
        calls: list[dict[str, Any]],
    ) -> None:
        if self._asked.route is Route.GENERATE:
            line["response"] = words
            if thoughts:
                line["thinking"] = thoughts
            return
        message: dict[str, Any] = {"role": "assistant", "content": words}
        if thoughts:
            message["thinking"] = thoughts
        if calls:
            message["tool_calls"] = calls
        line["message"] = message

    def _final(self) -> dict[str, Any]:
        first = self._seconds() if self._first is None else self._first
        return {
            **self._line(),
            "done": True,
            "done_reason": _REASONS.get(self._reason or "", "stop"),
            "total_duration": self._since(self._began),
            # What came before, from waiting to waking, is all in it.
            "prompt_eval_duration": int((first - self._began) * 1e9),
            "eval_duration": self._since(first),
            "prompt_eval_count": self._usage.get("prompt_tokens") or 0,
            "eval_count": self._usage.get("completion_tokens") or 0,
        }

    def _since(self, start: float) -> int:
        return int((self._seconds() - start) * 1e9)


def _wordsOf(part: Any) -> tuple[str, str]:
    """
    What is said, and what is thought before.
    """
    if isinstance(part, str):
        return part, ""
    # vLLM has the first, others the second.
    thoughts = part.get("reasoning_content") or part.get("reasoning") or ""
    return str(part.get("content") or ""), str(thoughts)


def _called(call: Mapping[str, str]) -> dict[str, Any]:
    try:
        arguments = json.loads(call["arguments"] or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise Broken("the model calls a tool with arguments that are no JSON object")
    made: dict[str, Any] = {"function": {"name": call["name"], "arguments": arguments}}
    return {"id": call["id"], **made} if call["id"] else made
