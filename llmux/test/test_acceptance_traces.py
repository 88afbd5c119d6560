"""
Acceptance: a collector gets traces from llmux as a user starts it.
"""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from threading import Thread

from llmux.test._processes import needsPrograms
from llmux.test._service import ProcessTestCase


class TracesTests(ProcessTestCase):
    """
    Tests for C{traces: otlp}.
    """

    skip = needsPrograms("curl") or (
        None
        if find_spec("opentelemetry") and find_spec("opentelemetry.sdk")
        else "OpenTelemetry is not installed (it is in llmux[traces])"
    )

    def collector(self) -> tuple[str, list[bytes]]:
        """
        Start one.

        @return: where it is, and what it gets.
        """
        got: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """
                Say nothing.
                """

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}", got

    def test_collector(self) -> None:
        """
        Requests and switches have arrived when llmux has ended, under its
        name.
        """
        url, got = self.collector()
        llama = self.backend("llama")
        service = self.serve(
            self.settings(llama, traces="otlp"),
            environment={"OTEL_EXPORTER_OTLP_ENDPOINT": url},
        )
        self.assertEqual(service.chat("llama").status, 200)
        service.stop()
        sent = b"".join(got)
        for word in (b"llmux", b"request", b"queue", b"first byte", b"switch", b"wake"):
            self.assertIn(word, sent)
        self.assertNotIn(b"Traceback", service.running.output().encode())

    def test_noCollector(self) -> None:
        """
        Where nobody takes traces, requests are served all the same.
        """
        llama = self.backend("llama")
        service = self.serve(
            self.settings(llama, traces="otlp"),
            environment={
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
                "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
            },
        )
        self.assertEqual(service.chat("llama").status, 200)
        service.stop()
