"""
Acceptance: a collector gets traces from llmux as a user starts it.
"""

from __future__ import annotations

from importlib.util import find_spec

from llmux.test._http import collector
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

    def test_collector(self) -> None:
        """
        Requests and switches have arrived when llmux has ended, under its
        name.
        """
        url, got = collector(self.addCleanup)
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
