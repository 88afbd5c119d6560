# -*- test-case-name: llmux.test.test_web_ollama_asked -*-
"""
Requests of Ollama's API as OpenAI's has them.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from io import BytesIO
from typing import IO, Any

from attrs import evolve, frozen

from llmux.web._errors import BadBody

__all__ = ()


class Route(Enum):
    """
    What is asked for.
    """

    CHAT = b"/api/chat"
    GENERATE = b"/api/generate"
    EMBED = b"/api/embed"
    EMBEDDINGS = b"/api/embeddings"


@frozen
class Translated:
    """
    A request.

    @ivar route: what is asked for.
    @ivar target: where OpenAI's API has that.
    @ivar body: what is sent there.
    @ivar isStream: whether the answer is to come bit by bit.
    @ivar isRaw: whether it comes as plain text, and not as a message.
    """

    route: Route
    target: bytes
    body: dict[str, Any]
    isStream: bool = False
    isRaw: bool = False


#: Options of Ollama's, and under which names servers know them.  Those that are
#: not here are about how a model is loaded, or known to nobody else.
_OPTIONS = {
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
    "min_p": ("min_p",),
    "typical_p": ("typical_p",),
    "seed": ("seed",),
    "stop": ("stop",),
    "frequency_penalty": ("frequency_penalty",),
    "presence_penalty": ("presence_penalty",),
    # llama.cpp calls it the first, vLLM and SGLang the second.
    "repeat_penalty": ("repeat_penalty", "repetition_penalty"),
}

#: How base64 begins of the images that there are.
_IMAGES = {
    "iVBOR": "image/png",
    "R0lGO": "image/gif",
    "UklGR": "image/webp",
    "/9j/": "image/jpeg",
}


def inJSON(value: object) -> bytes:
    """
    Write a line.
    """
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def read(body: bytes) -> dict[str, Any]:
    """
    Read the body of a request.

    @raise BadBody: it is no JSON object.
    """
    try:
        said = json.loads(body, parse_constant=_refuseConstant)
    except (ValueError, RecursionError):
        raise BadBody("the body is not valid JSON") from None
    if not isinstance(said, dict):
        raise BadBody("the body is not a JSON object")
    return said


@frozen(eq=False)
class Turned:
    """
    A request that was read, and what has become of it.

    @ivar made: the translated request, but for its body.
    @ivar body: a file with that.
    @ivar length: its length in bytes.
    @ivar isEmpty: whether nothing is asked for but that the model be loaded or
        unloaded.
    @ivar isUnload: whether it is to be unloaded: then nothing is made.
    """

    made: Translated
    body: IO[bytes]
    length: int
    isEmpty: bool = False
    isUnload: bool = False


def turned(route: Route, body: bytes, name: str) -> Turned:
    """
    Read and translate a request.

    @param name: the name of its model.

    @raise BadBody: it is not what it should be.
    """
    said = {**read(body), "model": name}
    isNothing = isEmpty(route, said)
    if isNothing:
        # How long a model stays is for llmux to say.
        if isUnloading(said):
            nothing = Translated(route, b"", {})
            return Turned(nothing, BytesIO(), 0, isEmpty=True, isUnload=True)
        said["stream"] = False
    made = translated(route, said)
    text = inJSON(made.body)
    made = evolve(made, body={})
    return Turned(made, BytesIO(text), len(text), isEmpty=isNothing)


def _refuseConstant(name: str) -> None:
    raise ValueError(name)


def isEmpty(route: Route, said: Mapping[str, Any]) -> bool:
    """
    Whether a request asks for nothing but that the model be loaded, or
    unloaded.
    """
    if route is Route.CHAT:
        return not said.get("messages")
    return route is Route.GENERATE and not said.get("prompt") and not said.get("images")


def isUnloading(said: Mapping[str, Any]) -> bool:
    """
    Whether a request that asks for nothing is to unload the model.
    """
    keep = said.get("keep_alive")
    if isinstance(keep, str):
        keep = keep.strip().rstrip("smh") or "?"
        return keep in ("0", "0.0")
    return not isinstance(keep, bool) and keep == 0


def translated(route: Route, said: Mapping[str, Any]) -> Translated:
    """
    Translate a request.

    @raise BadBody: something of it is not what it should be.
    """
    if route in (Route.EMBED, Route.EMBEDDINGS):
        return _embed(route, said)
    isStream = _typed(said, "stream", bool, True)
    body: dict[str, Any] = {"model": said.get("model")}
    isRaw = route is Route.GENERATE and bool(said.get("raw") or said.get("suffix"))
    if isRaw:
        body["prompt"] = _typed(said, "prompt", str, "")
        if said.get("suffix"):
            body["suffix"] = _typed(said, "suffix", str, "")
    elif route is Route.GENERATE:
        body["messages"] = list(_prompted(said))
    else:
        body["messages"] = list(_messages(_typed(said, "messages", list, [])))
        if said.get("tools"):
            body["tools"] = _typed(said, "tools", list, [])
    body |= _options(_typed(said, "options", dict, {}))
    body |= _format(said.get("format"))
    body |= _thinking(said.get("think"))
    body["stream"] = isStream
    if isStream:
        body["stream_options"] = {"include_usage": True}
    target = b"/v1/completions" if isRaw else b"/v1/chat/completions"
    return Translated(route, target, body, isStream, isRaw)


def _embed(route: Route, said: Mapping[str, Any]) -> Translated:
    if route is Route.EMBED:
        given = said.get("input")
        isTexts = isinstance(given, list) and all(isinstance(x, str) for x in given)
        if not isinstance(given, str) and not isTexts:
            raise BadBody("`input` must be a text or a list of texts", "input")
    else:
        given = _typed(said, "prompt", str, "")
    body = {"model": said.get("model"), "input": given, "encoding_format": "float"}
    if said.get("dimensions") is not None:
        body["dimensions"] = _typed(said, "dimensions", int, 0)
    return Translated(route, b"/v1/embeddings", body)


def _prompted(said: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if said.get("system"):
        yield {"role": "system", "content": _typed(said, "system", str, "")}
    text = _typed(said, "prompt", str, "")
    yield {"role": "user", "content": _content(text, said.get("images"))}


def _messages(given: Sequence[Any]) -> Iterator[dict[str, Any]]:
    # The calls that have not been answered yet: an id and a name.
    open_: deque[tuple[str, str]] = deque()
    for number, message in enumerate(given):
        if not isinstance(message, dict):
            raise BadBody("each of `messages` must be an object", "messages")
        role = _typed(message, "role", str, "")
        text = _typed(message, "content", str, "")
        made: dict[str, Any] = {
            "role": role,
            "content": _content(text, message.get("images")),
        }
        calls = message.get("tool_calls")
        if calls:
            made["tool_calls"] = list(_calls(calls, number))
            open_.extend(
                (one["id"], one["function"]["name"]) for one in made["tool_calls"]
            )
        if message.get("thinking"):
            made["reasoning_content"] = _typed(message, "thinking", str, "")
        if role == "tool":
            made["tool_call_id"] = _answered(open_, message)
        yield made


def _calls(given: Any, number: int) -> Iterator[dict[str, Any]]:
    for index, call in enumerate(given if isinstance(given, list) else [given]):
        call = call if isinstance(call, dict) else {}
        function = call.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str):
            raise BadBody("each of `tool_calls` must name a function", "messages")
        arguments = function.get("arguments") or {}
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)
        identifier = call.get("id")
        if not isinstance(identifier, str) or not identifier:
            identifier = f"call_{number}_{index}"
        yield {
            "id": identifier,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }


def _answered(open_: deque[tuple[str, str]], message: Mapping[str, Any]) -> str:
    """
    Which call a tool's message answers: the one that it says, or else the
    first of its tool that is not answered yet.
    """
    said = message.get("tool_call_id")
    name = message.get("tool_name") or message.get("name")
    for one in open_:
        if one[0] == said or (not said and name in (None, one[1])):
            open_.remove(one)
            return one[0]
    return said if isinstance(said, str) and said else "call"


def _content(text: str, images: Any) -> Any:
    if not images:
        return text
    if not isinstance(images, list) or not all(isinstance(x, str) for x in images):
        raise BadBody("`images` must be a list of texts in base64", "images")
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    for image in images:
        kind = next((k for s, k in _IMAGES.items() if image.startswith(s)), None)
        url = f"data:{kind or 'image/jpeg'};base64,{image}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    made = {
        known: given[name]
        for name, names in _OPTIONS.items()
        if given.get(name) is not None
        for known in names
    }
    most = given.get("num_predict")
    # Less than one is for as many as there are.
    if isinstance(most, int) and not isinstance(most, bool) and most > 0:
        made["max_tokens"] = most
    return made


def _format(given: Any) -> dict[str, Any]:
    if not given:
        return {}
    if given == "json":
        return {"response_format": {"type": "json_object"}}
    if isinstance(given, dict):
        schema = {"name": "answer", "schema": given, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    raise BadBody('`format` must be "json" or a JSON Schema', "format")


def _thinking(given: Any) -> dict[str, Any]:
    if isinstance(given, bool):
        return {"chat_template_kwargs": {"enable_thinking": given}}
    if isinstance(given, str) and given:
        return {"reasoning_effort": given}
    return {}


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


def _typed(said: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = said.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise BadBody(f"`{name}` must be {_KINDS[kind]}", name)
    return value
