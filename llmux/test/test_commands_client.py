"""
Tests for L{llmux.commands._client}: against a server in a thread, as what is
tested waits.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn, UnixStreamServer
from tempfile import gettempdir
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llmux.commands import _client
from llmux.commands._client import ClientError, Server, plain, quoted, serverAt

#: What a server is to do with a request.
Answerer = Callable[[BaseHTTPRequestHandler], None]


def say(status: int, body: object, kind: str = "application/json") -> Answerer:
    """
    An answer that is always the same.
    """
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def refusal(message: str) -> object:
    """
    llmux's envelope.
    """
    error = {"message": message, "type": "llmux_error", "param": None, "code": "x"}
    return {"error": error}


class TCP(ThreadingMixIn, TCPServer):
    """
    A server on a port.
    """

    daemon_threads = True
    allow_reuse_address = True


class Unix(ThreadingMixIn, UnixStreamServer):
    """
    A server on a socket in the file system.
    """

    daemon_threads = True


class ServerTestCase(SynchronousTestCase):
    """
    A test with a server that answers as the test says.

    @ivar asked: what it was asked: methods, paths and headers.
    """

    def setUp(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.answer: Answerer = say(200, {})

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """
        What answers.
        """
        case = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                case.asked.append((self.command, self.path, headers))
                case.answer(self)

            do_POST = do_GET

            def log_message(self, format: str, *values: Any) -> None:
                pass

            def address_string(self) -> str:
                return ""

        return Handler

    def run_(self, server: Any) -> None:
        """
        Serve until the test ends.
        """
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self.addCleanup(end)

    def start(self) -> str:
        """
        Serve on a port.

        @return: the address.
        """
        server = TCP(("127.0.0.1", 0), self.handler())
        self.run_(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    def refused(self, act: Callable[[], Any]) -> ClientError:
        """
        The error that something raises.
        """
        error = self.assertRaises(ClientError, act)
        assert isinstance(error, ClientError)
        return error


class AskTests(ServerTestCase):
    """
    Tests for L{Server.ask}.
    """

    def test_json(self) -> None:
        """
        JSON is read; the path is below that of the address, and no key is
        sent where there is none.
        """
        self.answer = say(200, {"a": 1})
        server = serverAt(self.start() + "/llm/")
        self.assertEqual(server.ask("POST", "/llmux/x?y"), {"a": 1})
        (method, path, headers) = self.asked[0]
        self.assertEqual((method, path), ("POST", "/llm/llmux/x?y"))
        self.assertNotIn("authorization", headers)

    def test_text(self) -> None:
        """
        Other answers are text.
        """
        self.answer = say(200, "größer".encode(), "text/plain; charset=utf-8")
        self.assertEqual(serverAt(self.start()).ask("GET", "/"), "größer")

    def test_key(self) -> None:
        """
        A key is sent.
        """
        serverAt(self.start(), "sk-1").ask("GET", "/")
        self.assertEqual(self.asked[0][2]["authorization"], "Bearer sk-1")

    def test_unix(self) -> None:
        """
        Sockets in the file system are as good.
        """
        path = Path(self.mktemp()).absolute()
        # There is not much room for the name of a socket.
        path = Path(gettempdir()) / f"llmux-{path.name}-{id(self)}.sock"
        self.addCleanup(path.unlink)
        self.answer = say(200, {"b": 2})
        self.run_(Unix(str(path), self.handler()))
        self.assertEqual(serverAt(f"unix:{path}").ask("GET", "/"), {"b": 2})

    def test_refused(self) -> None:
        """
        What llmux says of a refusal is what is told, and does nothing to a
        terminal.
        """
        self.answer = say(409, refusal("'a' is pinned.\x1b[2J"))
        error = self.refused(lambda: serverAt(self.start()).ask("POST", "/"))
        self.assertEqual((str(error), error.status), ("'a' is pinned.\\x1b[2J", 1))

    def test_noKey(self) -> None:
        """
        A key that is missing or wrong has a status of its own, and it is said
        where it is taken from.
        """
        self.answer = say(401, refusal("The key is missing."))
        error = self.refused(lambda: serverAt(self.start()).ask("GET", "/"))
        self.assertEqual(error.status, 77)
        self.assertIn("$LLMUX_API_KEY", str(error))

    def test_stranger(self) -> None:
        """
        Another server's refusal is said to be one.
        """
        for body in (b"<html>", b"[]", b'{"error": "no"}', b'{"error": {}}', b"{"):
            self.answer = say(404, body)
            error = self.refused(lambda: serverAt(self.start()).ask("GET", "/"))
            self.assertIn("another server", str(error))
            self.assertIn("404", str(error))

    def test_nonsense(self) -> None:
        """
        An answer that is none, or no JSON though it says so, is an error in a
        line.
        """
        for answer in (
            say(200, b"{"),
            lambda handler: handler.wfile.write(b"nonsense\r\n\r\n"),
            lambda handler: None,
        ):
            self.answer = answer
            error = self.refused(lambda: serverAt(self.start()).ask("GET", "/"))
            self.assertEqual(error.status, 69)
            self.assertEqual(len(str(error).splitlines()), 1)

    def test_nobody(self) -> None:
        """
        If nobody listens, that is said, with where one could look.
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        error = self.refused(lambda: serverAt(url).ask("GET", "/"))
        self.assertEqual(error.status, 69)
        for part in (url, "refused", "--url", "$LLMUX_URL"):
            self.assertIn(part, str(error))
        error = self.refused(lambda: serverAt("unix:/nowhere/s").ask("GET", "/"))
        self.assertIn("No such file", str(error))

    def test_tooSlow(self) -> None:
        """
        An answer that does not come in time is not waited for.
        """
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            error = self.refused(lambda: serverAt(url).ask("GET", "/", limit=0.05))
        self.assertEqual(error.status, 69)
        self.assertIn("in time", str(error))


class FollowTests(ServerTestCase):
    """
    Tests for L{Server.follow}.
    """

    def follow(self, server: Server) -> list[tuple[str, str]]:
        """
        All that comes until the end, which is told as an error.
        """
        found = []

        def follow() -> None:
            for event in server.follow("/llmux/events"):
                found.append(event)  # noqa: PERF402 # it ends by an error

        error = self.refused(follow)
        self.assertEqual(error.status, 69)
        return found

    def test_events(self) -> None:
        """
        Each event has its name and its data; comments are not told.
        """
        body = (
            b": hello\n\nevent: one\ndata: 1\n\ndata: a\r\ndata:b\r\n\r\n"
            b"event: none\n\nid: 7\n\ndata: last\n\ndata: cut off\n"
        )
        self.answer = say(200, body, "text/event-stream; charset=utf-8")
        self.assertEqual(
            self.follow(serverAt(self.start())),
            [("one", "1"), ("", "a\nb"), ("none", "last")],
        )

    def test_refused(self) -> None:
        """
        A refusal is told as any other.
        """
        self.answer = say(503, refusal("Too many."))
        error = self.refused(lambda: list(serverAt(self.start()).follow("/")))
        self.assertEqual((str(error), error.status), ("Too many.", 1))

    def test_stranger(self) -> None:
        """
        So is an answer that is not a stream of events.
        """
        self.answer = say(200, {})
        error = self.refused(lambda: list(serverAt(self.start()).follow("/")))
        self.assertIn("another server", str(error))

    def test_silence(self) -> None:
        """
        A stream without a heartbeat is dead.
        """
        self.patch(_client, "SILENT", 0.05)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            error = self.refused(lambda: list(serverAt(url).follow("/")))
        self.assertIn("in time", str(error))


class AddressTests(SynchronousTestCase):
    """
    Tests for L{serverAt} and what is made of words.
    """

    def test_good(self) -> None:
        """
        Addresses are what they look like.
        """
        for url, wanted in (
            ("http://h", ("http", "h", None, "")),
            ("https://h:1/p/", ("https", "h", 1, "/p")),
            ("http://[::1]:3000", ("http", "::1", 3000, "")),
            ("unix:/run/llmux.sock", ("unix", "/run/llmux.sock", None, "")),
        ):
            server = serverAt(url)
            found = (server.scheme, server.host, server.port, server.prefix)
            self.assertEqual(found, wanted)

    def test_bad(self) -> None:
        """
        What is none is refused, with what would be one.
        """
        for url in ("", "h:3000", "127.0.0.1", "ftp://h", "http://", "http://h:x"):
            error = self.assertRaises(ValueError, serverAt, url)
            self.assertIn("http://127.0.0.1:3000", str(error))
        self.assertRaises(ValueError, serverAt, "unix:")

    def test_secrets(self) -> None:
        """
        A key has no place in an address, and what cannot be a key is not
        shown.
        """
        error = self.assertRaises(ValueError, serverAt, "http://key:secret@h")
        self.assertNotIn("secret", str(error))
        error = self.assertRaises(ValueError, serverAt, "http://h", "se\ncret")
        self.assertNotIn("cret", str(error))

    def test_words(self) -> None:
        """
        Names fit into paths, and nothing that is shown commands a terminal.
        """
        self.assertEqual(quoted("org/b ä?"), "org%2Fb%20%C3%A4%3F")
        self.assertEqual(plain("größer"), "größer")
        self.assertEqual(plain("a\x1b[2J\n'"), "a\\x1b[2J\\n'")
