"""
What every front end has to do with Ollama's API.
"""

from __future__ import annotations

import json
from typing import Any

from llmux.config import Alias, PolicyConfig
from llmux.interfaces import State
from llmux.test._wire import Peer, Response, WireCase, pause, post
from llmux.web._scanner import LEAST
from llmux.web.ollama import SHOWN

SSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\nX-Of-Server: 1\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    """
    A chunk of a chunked body.
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: object) -> bytes:
    """
    A chunk with an event of a stream.
    """
    return chunk(b"data: %b\n\n" % json.dumps(data).encode())


def delta(finish: str | None = None, **parts: Any) -> bytes:
    """
    An event with a part of a message.
    """
    return event({"choices": [{"delta": parts, "finish_reason": finish}]})


def ask(path: bytes, said: Any) -> bytes:
    """
    A request.
    """
    return post(json.dumps(said).encode(), path)


def answer(said: object, status: bytes = b"200 OK") -> bytes:
    """
    A whole response.
    """
    body = json.dumps(said).encode()
    return (
        b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (status, len(body), body)
    )


class OllamaAPI(WireCase):
    """
    Requests of Ollama's API, for servers that speak OpenAI's, and others.
    """

    async def asking(self, path: bytes, said: Any) -> tuple[Peer, Peer, Any]:
        """
        Ask, and see what the server is asked.
        """
        client = await self.ask(ask(path, said))
        server = await self.backend.connection()
        request = await server.takeRequest()
        self.request = request
        return client, server, json.loads(request.body)

    def lines(self, response: Response) -> list[Any]:
        """
        What a response has to say, line by line.
        """
        return [json.loads(line) for line in response.body.splitlines()]

    async def test_ollamaChat(self) -> None:
        """
        A conversation is streamed line by line, each as soon as it is there;
        the token is held to the end.
        """
        client, server, asked = await self.asking(
            b"/api/chat",
            {
                "model": "a:latest",
                "messages": [{"role": "user", "content": "Hi"}],
                "options": {"num_predict": 5, "num_ctx": 1},
                "keep_alive": "5m",
            },
        )
        self.assertEqual(self.request.line, "POST /v1/chat/completions HTTP/1.1")
        self.assertEqual(self.request.headers["content-type"], "application/json")
        self.assertEqual(
            asked,
            {
                "model": "a",
                "messages": [{"role": "user", "content": "Hi"}],
                "max_tokens": 5,
                "stream": True,
                "stream_options": {"include_usage": True},
            },
        )
        server.send(SSE + delta(role="assistant", content=""))
        head = await client.take(b"\r\n\r\n")
        self.assertIn(b"\r\nContent-Type: application/x-ndjson\r\n", head)
        self.assertIn(b"\r\nX-Of-Server: 1\r\n", head)
        self.assertNotIn(b"event-stream", head)
        for word in ("Hé", "llo"):
            server.send(delta(content=word))
            line = json.loads((await client.take(b"\n\r\n")).partition(b"\r\n")[2])
            self.assertEqual(line["message"], {"role": "assistant", "content": word})
            self.assertEqual((line["model"], line["done"]), ("a:latest", False))
        server.send(delta("length"))
        usage = {"prompt_tokens": 7, "completion_tokens": 2}
        server.send(event({"choices": [], "usage": usage}))
        await pause()
        self.assertEqual(self.inFlight(), 1)
        server.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        rest = await client.take(b"0\r\n\r\n")
        last = json.loads(rest.split(b"\r\n")[1])
        self.assertEqual((last["done"], last["done_reason"]), (True, "length"))
        self.assertEqual((last["prompt_eval_count"], last["eval_count"]), (7, 2))
        self.assertGreaterEqual(last["total_duration"], last["eval_duration"])
        await self.metrics.when(1)
        self.assertEqual(self.metrics.finished, [("a", 200)])
        self.assertEqual(self.inFlight(), 0)

    async def test_ollamaWhole(self) -> None:
        """
        An answer that is wanted as a whole comes as one, thoughts and calls of
        tools with it; the connections go on.
        """
        client, server, asked = await self.asking(
            b"/api/chat",
            {"model": "a", "messages": [{"role": "user"}], "stream": False},
        )
        self.assertNotIn("stream_options", asked)
        call = {"id": "c1", "function": {"name": "f", "arguments": '{"x": 1}'}}
        message = {"content": None, "reasoning_content": "hm", "tool_calls": [call]}
        choice = {"message": message, "finish_reason": "tool_calls"}
        server.send(answer({"choices": [choice], "usage": {"completion_tokens": 3}}))
        response = await client.takeResponse()
        (line,) = self.lines(response)
        self.assertIn("application/json", response.headers["content-type"])
        self.assertEqual(
            line["message"],
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [
                    {"id": "c1", "function": {"name": "f", "arguments": {"x": 1}}}
                ],
            },
        )
        self.assertEqual((line["done_reason"], line["eval_count"]), ("stop", 3))
        client.send(ask(b"/api/embed", {"model": "a", "input": ["x", "y"]}))
        asked = json.loads((await server.takeRequest()).body)
        self.assertEqual(asked["input"], ["x", "y"])
        data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
        server.send(answer({"data": data, "usage": {"prompt_tokens": 2}}))
        (line,) = self.lines(await client.takeResponse())
        self.assertEqual(line["embeddings"], [[1.0], [2.0]])
        self.assertEqual(line["prompt_eval_count"], 2)
        client.send(ask(b"/api/embeddings", {"model": "a", "prompt": "x"}))
        await server.takeRequest()
        server.send(answer({"data": data[1:]}))
        self.assertEqual(
            self.lines(await client.takeResponse()), [{"embedding": [1.0]}]
        )

    async def test_ollamaGenerate(self) -> None:
        """
        A prompt is a conversation, or plain text if it is raw.
        """
        client, server, asked = await self.asking(
            b"/api/generate",
            {"model": "a", "prompt": "Why?", "system": "Be short", "images": ["iVBOR"]},
        )
        self.assertEqual(
            [message["role"] for message in asked["messages"]], ["system", "user"]
        )
        server.send(
            SSE
            + delta(content="So.")
            + delta("stop")
            + chunk(b"data: [DONE]\n\n")
            + b"0\r\n\r\n"
        )
        lines = self.lines(await client.takeResponse())
        self.assertEqual([line["response"] for line in lines], ["So.", ""])
        client.send(
            ask(
                b"/api/generate",
                {"model": "a", "prompt": "x", "raw": True, "stream": False},
            )
        )
        request = await server.takeRequest()
        self.assertEqual(request.line, "POST /v1/completions HTTP/1.1")
        server.send(answer({"choices": [{"text": "y", "finish_reason": "stop"}]}))
        self.assertEqual(self.lines(await client.takeResponse())[0]["response"], "y")

    async def test_ollamaShaped(self) -> None:
        """
        What is translated gets the parameters and the name that the
        configuration wants.
        """
        self.start(
            {
                "a": {
                    "aliases": (Alias("wild", set={"temperature": 2}),),
                    "backend_model": "org/a",
                }
            }
        )
        _, _, asked = await self.asking(
            b"/api/chat",
            {
                "model": "wild",
                "messages": [{"role": "user", "content": "x"}],
                "options": {"temperature": 0},
            },
        )
        self.assertEqual((asked["model"], asked["temperature"]), ("org/a", 2))

    async def test_ollamaLarge(self) -> None:
        """
        A request that takes long to translate is translated all the same, as
        one that does not, however many parts it has; what is wrong with it is
        told.
        """
        self.start({"a": {"set": {"seed": 1}}})
        many = [{"role": "user", "content": "\xe4"}] * 40_000
        said = {"model": "a", "messages": many, "stream": False}
        client, server, asked = await self.asking(b"/api/chat", said)
        self.assertEqual(self.request.line, "POST /v1/chat/completions HTTP/1.1")
        self.assertTrue(asked.pop("messages") == many)
        self.assertEqual(asked, {"model": "a", "stream": False, "seed": 1})
        choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
        server.send(answer({"choices": [choice]}))
        (line,) = self.lines(await client.takeResponse())
        self.assertEqual((line["message"]["content"], line["done"]), ("yes", True))
        client = await self.ask(
            ask(b"/api/chat", {"model": "a", "messages": [*many, {"role": 1}]})
        )
        response = await client.takeResponse()
        self.assertEqual(response.status, 400)
        self.assertIn("must be a text", self.lines(response)[0]["error"])
        client = await self.ask(ask(b"/api/show", {"model": "a", "x": "x" * SHOWN}))
        self.assertEqual((await client.takeResponse()).status, 413)

    async def test_ollamaLargeServer(self) -> None:
        """
        A large one for a server that speaks Ollama's API is passed on as it is.
        """
        self.start({"a": {"api": "ollama"}})
        request = ask(b"/api/chat", {"model": "a", "prompt": "x" * (LEAST + 1)})
        await self.ask(request)
        server = await self.backend.connection()
        body = (await server.takeRequest()).body
        self.assertTrue(request.endswith(b"\r\n\r\n" + body))
        self.assertGreater(len(body), LEAST)

    async def test_ollamaTruncated(self) -> None:
        """
        A stream that breaks, or ends before its end, says so in a last line
        and is not ended as if it were whole.
        """
        for ending in (b"", b"0\r\n\r\n"):
            client = await self.ask(
                ask(b"/api/chat", {"model": "a", "messages": [{"role": "user"}]})
            )
            server = await self.backend.connection()
            await server.takeRequest()
            server.send(SSE + delta(content="Hal") + ending)
            await client.take(b"Hal")
            server.close()
            rest = await client.end()
            self.assertIn(b'"error"', rest)
            self.assertNotIn(b'"done": true', rest)
            self.assertFalse(rest.endswith(b"0\r\n\r\n"))
            await self.metrics.when(len(self.backend.peers))
            self.assertEqual(self.inFlight(), 0)
            await self.untilAwake()

    async def untilAwake(self) -> None:
        """
        Wait until model C{a} serves.
        """
        while self.stateOf("a") is not State.AWAKE:
            await pause(0.01)

    async def test_ollamaCut(self) -> None:
        """
        A stream that is cut by a drain says so.
        """
        self.policy = PolicyConfig(drain_timeout_secs=0.1)
        self.start({})
        client, server, _ = await self.asking(
            b"/api/chat", {"model": "a", "messages": [{"role": "user"}]}
        )
        server.send(SSE + delta(content="Hal"))
        await client.take(b"Hal")
        await self.ask(post(b'{"model": "b"}'))
        rest = await client.end()
        line = json.loads(rest.split(b"\r\n")[-2])
        self.assertIn("taken out of service", line["error"])

    async def test_ollamaBackPressure(self) -> None:
        """
        While a client takes nothing, nothing is read from the server.
        """
        size = 64_000_000
        client, server, _ = await self.asking(
            b"/api/chat", {"model": "a", "messages": [{"role": "user"}]}
        )
        client.transport.pauseProducing()
        server.send(SSE)
        sent = 0

        def wrapped(piece: bytes) -> bytes:
            nonlocal sent
            sent += 1
            return delta(content=piece.decode())

        await self.flood(server, size, wrapped)
        self.assertLess(sent * 65536, size // 2)
        client.abort()
        await server.end()
        await self.metrics.when(1)
        self.assertEqual(self.inFlight(), 0)

    async def test_ollamaErrors(self) -> None:
        """
        Whatever goes wrong has Ollama's shape: no model, another's error, bad
        requests, the server's own errors.
        """
        for path, said, status, words in (
            (b"/api/chat", {"model": "x"}, 404, "No model named 'x'"),
            (b"/api/show", {"model": "x"}, 404, "No model named 'x'"),
            (b"/api/show", {}, 400, "names no model"),
            (b"/api/chat", {"messages": []}, 400, "names no model"),
            (b"/api/chat", {"model": 1}, 400, "must be a string"),
            (b"/api/chat", {"model": "a", "messages": "x"}, 400, "must be a list"),
            (b"/api/embed", {"model": "a", "input": 1}, 400, "must be a text or"),
            (b"/api/tags", {}, 405, "takes GET, HEAD"),
        ):
            client = await self.ask(ask(path, said))
            response = await client.takeResponse()
            self.assertEqual(response.status, status, (path, said))
            (error,) = self.lines(response)
            self.assertEqual(list(error), ["error"])
            self.assertIn(words, error["error"])
        client = await self.ask(post(b'{"model": "a",', b"/api/chat"))
        self.assertEqual((await client.takeResponse()).status, 400)
        self.assertEqual(self.backend.peers, [])
        client, server, _ = await self.asking(
            b"/api/chat", {"model": "a", "messages": [{"role": "user"}]}
        )
        server.send(answer({"error": {"message": "too long"}}, b"400 Bad Request"))
        response = await client.takeResponse()
        self.assertEqual(response.status, 400)
        self.assertEqual(self.lines(response), [{"error": "too long"}])

    async def test_ollamaNonsense(self) -> None:
        """
        A server that answers something else makes a 502, or a last line.
        """
        client, server, _ = await self.asking(
            b"/api/chat",
            {"model": "a", "messages": [{"role": "user"}], "stream": False},
        )
        server.send(answer({"choices": []}))
        response = await client.takeResponse()
        self.assertEqual(response.status, 502)
        self.assertIn("something else", self.lines(response)[0]["error"])
        client.send(ask(b"/api/chat", {"model": "a", "messages": [{"role": "user"}]}))
        await server.takeRequest()
        server.send(SSE + delta(content="x") + event([1]) + b"0\r\n\r\n")
        lines = self.lines(await client.takeResponse())
        self.assertEqual(lines[0]["message"]["content"], "x")
        self.assertEqual(list(lines[1]), ["error"])

    async def test_ollamaLoad(self) -> None:
        """
        A request for nothing wakes its model; one to unload it does nothing,
        as llmux has its own mind about that.
        """
        client = await self.ask(ask(b"/api/generate", {"model": "b", "keep_alive": 0}))
        (line,) = self.lines(await client.takeResponse())
        self.assertEqual((line["done_reason"], line["response"]), ("unload", ""))
        self.assertEqual(self.hooks.ran, [])
        client = await self.ask(ask(b"/api/chat", {"model": "b"}))
        await self.untilHook("a", "sleep")
        self.hooks.finish("a")
        await self.untilHook("b", "wake")
        self.hooks.finish("b")
        (line,) = self.lines(await client.takeResponse())
        self.assertEqual(line["done_reason"], "load")
        self.assertEqual(line["message"], {"role": "assistant", "content": ""})
        await self.metrics.when(2)
        self.assertEqual(self.inFlight("b"), 0)
        self.assertEqual(self.backends["b"].peers, [])

    async def test_ollamaServer(self) -> None:
        """
        A server that speaks Ollama's API gets its requests as they are, and
        its answers are passed on as they come; errors have the same shape.
        """
        self.start({"a": {"api": "ollama", "backend_model": "llama3"}})
        body = b'{"model":  "a", "messages": []}'
        client = await self.ask(post(body, b"/api/chat"))
        server = await self.backend.connection()
        request = await server.takeRequest()
        self.assertEqual(request.line, "POST /api/chat HTTP/1.1")
        self.assertEqual(request.body, body.replace(b'"a"', b'"llama3"'))
        server.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b'{"x":  1}\n{"y')
        )
        self.assertTrue((await client.take(b'{"y\r\n')).endswith(b'{"x":  1}\n{"y\r\n'))
        server.close()
        rest = await client.end()
        self.assertIn(b'\n{"error"', rest)
        self.assertFalse(rest.endswith(b"0\r\n\r\n"))
        await self.untilAwake()
        client = await self.ask(post(body, b"/api/generate"))
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(answer({"error": "of its own"}, b"404 Not Found"))
        response = await client.takeResponse()
        self.assertEqual(response.status, 404)
        self.assertEqual(self.lines(response), [{"error": "of its own"}])

    async def test_ollamaUpstream(self) -> None:
        """
        A server's own routes of these names are to be had in its path.
        """
        client = await self.ask(
            b"GET /upstream/a/api/tags HTTP/1.1\r\nHost: x\r\n\r\n"
            + post(b"{}", b"/upstream/a/api/chat")
        )
        server = await self.backend.connection()
        for line in ("GET /api/tags HTTP/1.1", "POST /api/chat HTTP/1.1"):
            self.assertEqual((await server.takeRequest()).line, line)
            server.send(answer([]))
            self.assertEqual((await client.takeResponse()).body, b"[]")
        self.assertEqual(self.backends["b"].peers, [])

    async def test_ollamaKnown(self) -> None:
        """
        What models there are llmux says by itself.
        """
        self.start(
            {
                "a": {
                    "aliases": (Alias("old", unlisted=True), Alias("new")),
                    "context_length": 4096,
                    "capabilities": ("completion", "tools"),
                    "ttl_secs": 60,
                },
            }
        )
        client = await self.connect()

        async def get(path: bytes) -> Any:
            client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            return json.loads((await client.takeResponse()).body)

        listed = (await get(b"/api/tags"))["models"]
        self.assertEqual([one["name"] for one in listed], ["a", "b", "new"])
        self.assertEqual(len({one["digest"] for one in listed}), 3)
        (running,) = (await get(b"/api/ps"))["models"]
        self.assertEqual((running["model"], running["context_length"]), ("a", 4096))
        self.assertEqual(set(await get(b"/api/version")), {"version", "llmux"})
        for body in ({"model": "new"}, {"name": "old:latest"}):
            client.send(ask(b"/api/show", body))
            shown = json.loads((await client.takeResponse()).body)
            self.assertEqual(shown["capabilities"], ["completion", "tools"])
            self.assertEqual(shown["model_info"]["llmux.context_length"], 4096)
        self.assertEqual(self.backend.peers, [])
