"""
What the clients of a chaos run ask, and what they are to get.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from random import Random
from typing import Any

from attrs import frozen

from chaos.stage import Model
from llmux.demo import _anthropic, _openai
from llmux.demo._answers import encode
from llmux.demo._behaviour import Behaviour

#: How an ask may end.  C{whole}: as it should; C{error}: with an error of
#: llmux's; C{broken}: an answer that is seen to be cut; C{dropped}: the
#: connection closed with no answer; C{unreachable}: no connection; C{left}: by
#: the client; C{wrong}: with an answer that it should not have been; C{stuck}:
#: not at all.
ENDS = ("whole", "error", "broken", "dropped", "unreachable", "left", "wrong", "stuck")


@frozen
class Ask:
    """
    A request.

    @ivar kind: one of L{KINDS}.
    @ivar model: the model that it names.
    @ivar head: all of the head but the line of the id.
    @ivar sent: SHA-256 of the body in hex.
    @ivar status: that of the answer.
    @ivar code: C{error.code} of the answer, if it is to be one of llmux's.
    @ivar body: the body that the answer has to have; L{None} if C{check} says.
    @ivar check: whether a body is right.
    @ivar faulty: whether the model's server is asked to break the answer.
    @ivar leaves: after how many seconds the client leaves.
    @ivar leavesAfter: after how many bytes of the body.
    @ivar pause: seconds between two looks at what has come.
    """

    kind: str
    model: str
    head: bytes
    body: bytes
    sent: str
    status: int = 200
    code: str = ""
    answer: bytes | None = None
    check: Callable[[bytes], bool] | None = None
    faulty: bool = False
    leaves: float | None = None
    leavesAfter: int | None = None
    pause: float = 0.0


def whole(events: Any) -> bytes:
    """
    All of a stream.
    """
    return b"".join(events)


def _ask(
    kind: str,
    model: str,
    path: str,
    body: bytes,
    type: str = "application/json",
    chunked: bool = False,
    **more: Any,
) -> Ask:
    framing = (
        "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    )
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {type}\r\n{framing}\r\n"
    sent = sha256(body).hexdigest()
    if chunked:
        step = max(1, len(body) // 3)
        parts = [body[at : at + step] for at in range(0, len(body), step)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        body += b"0\r\n\r\n"
    return Ask(kind, model, head.encode(), body, sent, **more)


def _prompt(random: Random) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{random.getrandbits(64):x} " * 3}]


def _chat(
    kind: str, model: Model, random: Random, stream: bool, tokens: int, **knobs: Any
) -> Ask:
    """
    A chat completion.
    """
    more = {name: knobs.pop(name) for name in list(knobs) if name in _OWN}
    body: dict[str, Any] = {"model": model.name, "messages": _prompt(random)}
    body["max_tokens"] = tokens
    if stream:
        body["stream"] = True
    path = "/v1/chat/completions"
    if model.kind == "llama":
        more["check"] = _isWholeStream if stream else _isWholeChat(tokens)
        return _ask(kind, model.name, path, json.dumps(body).encode(), **more)
    body.update({f"x_demo_{name}": value for name, value in knobs.items()})
    body["x_demo_tokens"] = tokens
    answer = _openai.chat(model.name, body, Behaviour().forRequest([], body))
    more["answer"] = whole(answer.events) if answer.events else answer.body
    return _ask(kind, model.name, path, json.dumps(body).encode(), **more)


_OWN = ("leaves", "leavesAfter", "pause", "faulty", "status", "code", "chunked")


def _isWholeStream(body: bytes) -> bool:
    return body.endswith(b"data: [DONE]\n\n") and b"event: error" not in body


def _isWholeChat(tokens: int) -> Callable[[bytes], bool]:
    def check(body: bytes) -> bool:
        try:
            return json.loads(body)["usage"]["completion_tokens"] <= tokens
        except (ValueError, LookupError):
            return False

    return check


def short(model: Model, random: Random) -> Ask:
    """
    A few words at once; now and then in chunks, or so large that it is not
    for the lane.
    """
    return _chat(
        "short", model, random, False, random.randrange(2, 20), chunked=chance(random)
    )


def chance(random: Random, one: int = 8) -> bool:
    """
    Seldom true.
    """
    return random.randrange(one) == 0


def stream(model: Model, random: Random) -> Ask:
    """
    A stream that does not take long.
    """
    return _chat("stream", model, random, True, random.randrange(3, 40))


def long(model: Model, random: Random) -> Ask:
    """
    A stream that takes a second or two.
    """
    tokens = random.randrange(50, 150)
    rate = random.choice((60, 100, 200))
    return _chat("long", model, random, True, tokens, tokens_per_second=rate)


def slow(model: Model, random: Random) -> Ask:
    """
    A stream whose reader is slower than the server.
    """
    tokens = random.randrange(40, 80)
    return _chat("slow", model, random, True, tokens, token_bytes=2000, pause=0.02)


def leaveQueued(model: Model, random: Random) -> Ask:
    """
    A client that leaves soon, whatever it has got.
    """
    seconds = random.random() * 0.5
    return _chat(
        "leaveQueued", model, random, True, 100, tokens_per_second=50, leaves=seconds
    )


def leaveStreaming(model: Model, random: Random) -> Ask:
    """
    A client that leaves in the middle of a stream.
    """
    size = random.randrange(1, 3000)
    return _chat(
        "leaveStreaming",
        model,
        random,
        True,
        200,
        tokens_per_second=200,
        leavesAfter=size,
    )


def completion(model: Model, random: Random) -> Ask:
    """
    The older kind of completion.
    """
    if model.kind == "llama":
        return short(model, random)
    asked = {"model": model.name, "prompt": f"{random.random()}", "max_tokens": 12}
    answer = _openai.completion(model.name, asked, Behaviour())
    path, body = "/v1/completions", json.dumps(asked).encode()
    return _ask("completion", model.name, path, body, answer=answer.body)


def embeddings(model: Model, random: Random) -> Ask:
    """
    Vectors, for one text or many.
    """
    if model.kind == "llama":
        return short(model, random)
    texts = [f"{random.random()}" for _ in range(random.choice((1, 1, 50)))]
    asked = {"model": model.name, "input": texts}
    answer = _openai.embeddings(model.name, asked, Behaviour())
    path, body = "/v1/embeddings", json.dumps(asked).encode()
    return _ask("embeddings", model.name, path, body, answer=answer.body)


def messages(model: Model, random: Random) -> Ask:
    """
    A stream as Anthropic has it, at the model's own path.
    """
    if model.kind == "llama":
        return stream(model, random)
    asked = {"model": model.name, "messages": _prompt(random), "max_tokens": 14}
    asked["stream"] = True
    answer = _anthropic.messages(model.name, asked, Behaviour())
    path, body = f"/upstream/{model.name}/v1/messages", json.dumps(asked).encode()
    return _ask("messages", model.name, path, body, answer=whole(answer.events))


def upload(model: Model, random: Random) -> Ask:
    """
    A form with a sound file, which may be large.
    """
    if model.kind == "llama":
        return short(model, random)
    sound = random.randbytes(random.choice((1000, 50_000, 300_000, 1_500_000)))
    body = (
        b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n"
        + sound
        + b"\r\n--frontier\r\n"
        b'Content-Disposition: form-data; name="model"\r\n\r\n'
        + model.name.encode()
        + b"\r\n--frontier--\r\n"
    )
    text = f"{model.name}: heard {len(sound)} bytes"
    answer = {"text": text, "bytes": len(sound), "sha256": sha256(sound).hexdigest()}
    return _ask(
        "upload",
        model.name,
        "/v1/audio/transcriptions",
        body,
        "multipart/form-data; boundary=frontier",
        chunked=chance(random),
        answer=encode(answer),
    )


def unknown(model: Model, random: Random) -> Ask:
    """
    A model that there is not.
    """
    body = json.dumps({"model": f"no-{model.name}"}).encode()
    path = "/v1/chat/completions"
    return _ask(
        "unknown", "", path, body, status=404, code="model_not_found", check=bool
    )


def broken(model: Model, random: Random) -> Ask:
    """
    A server that breaks its answer, each time in the way that is asked for.
    """
    if model.kind == "llama":
        return short(model, random)
    how, value, stream = random.choice(
        [
            ("garbage", "head", False),
            ("drop", True, True),
            ("cut_after", 2, True),
            ("cut_after", 0, False),
        ]
    )
    return _chat("broken", model, random, stream, 20, faulty=True, **{how: value})


def refusing(model: Model, random: Random) -> Ask:
    """
    A server that says that something is wrong, which is the client's to hear.
    """
    if model.kind == "llama":
        return short(model, random)
    ask = _chat("refusing", model, random, False, 5, status=418)
    body = json.loads(ask.body)
    body["x_demo_status"] = 418
    return _ask(
        "refusing",
        model.name,
        "/v1/chat/completions",
        json.dumps(body).encode(),
        status=418,
        check=bool,
    )


KINDS: Mapping[Callable[[Model, Random], Ask], int] = {
    short: 30,
    stream: 20,
    long: 5,
    slow: 2,
    leaveQueued: 5,
    leaveStreaming: 4,
    completion: 8,
    embeddings: 8,
    messages: 6,
    upload: 5,
    unknown: 2,
    broken: 2,
    refusing: 1,
}


def anAsk(models: Mapping[str, Model], random: Random) -> Ask:
    """
    Make up a request.
    """
    (make,) = random.choices(list(KINDS), list(KINDS.values()))
    # One of them is not asked for much.
    names = [*models] * 3 + [*models][:-1]
    return make(models[random.choice(names)], random)
