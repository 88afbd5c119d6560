"""
Clients that wait for a model to load, through a proxy that has no patience: a
wake of 90 seconds behind nginx as it is by default (60 seconds), with all
times divided by 30.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from llmux.demo import reply
from llmux.test._http import request
from llmux.test._processes import eventually, freePort, isListening, needsPrograms
from llmux.test._service import BACKEND_HOOKS, ProcessTestCase, chat

try:
    import openai
except ImportError:
    noOpenAI: str | None = "PyPI's openai is not installed (it is in llmux[real])"
else:
    noOpenAI = None

try:
    import anthropic
except ImportError:
    noAnthropic: str | None = "PyPI's anthropic is not installed (see llmux[real])"
else:
    noAnthropic = None

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

#: Seconds that a wake takes, that nginx waits for a byte, and between two
#: heartbeats.
WAKE, PATIENCE, BEAT = 3, 2, 0.5

PROMPT: Any = [{"role": "user", "content": "Hi"}]

CONFIGURATION = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{server};
      proxy_http_version 1.1;
      proxy_read_timeout {patience}s;
    }}
  }}
}}
"""


class WaitingTests(ProcessTestCase):
    """
    Tests behind nginx.
    """

    skip = needsPrograms("curl") or (None if NGINX else "nginx is not installed")

    def start(self, **more: Any) -> None:
        """
        Start llmux, with nginx before it.
        """
        (llama,) = self.backends("llama")
        settings = self.settings(llama, **more)
        settings["models"]["llama"]["wake"] = f"sleep {WAKE}\n{BACKEND_HOOKS['wake']}"
        settings["models"]["broken"] = {
            "port": 9,
            "wake": f"sleep {WAKE}; exit 1",
            "sleep": "true",
            "alive": "false",
        }
        service = self.serve(settings)
        port = freePort()
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                folder=self.folder, port=port, server=service.port, patience=PATIENCE
            )
        )
        self.processes.start(str(NGINX), "-c", str(configuration))
        eventually(lambda: isListening(port), "nginx listens")
        self.url = f"http://127.0.0.1:{port}"

    def openAI(self) -> openai.OpenAI:
        """
        A client of OpenAI's.
        """
        client = openai.OpenAI(
            base_url=f"{self.url}/v1", api_key="any", max_retries=0, timeout=60
        )
        self.addCleanup(client.close)
        return client

    def anthropic(self) -> anthropic.Anthropic:
        """
        A client of Anthropic's.
        """
        client = anthropic.Anthropic(
            base_url=self.url, api_key="any", max_retries=0, timeout=60
        )
        self.addCleanup(client.close)
        return client

    def byOpenAI(self, model: str) -> list[Any]:
        """
        What OpenAI's SDK gets bit by bit.
        """
        stream = self.openAI().chat.completions.create(
            model=model, messages=PROMPT, max_tokens=8, stream=True
        )
        return [chunk.choices[0].delta for chunk in stream if chunk.choices]

    def byAnthropic(self, model: str) -> str:
        """
        What Anthropic's SDK gets.
        """
        with self.anthropic().messages.stream(
            model=model, messages=PROMPT, max_tokens=8
        ) as stream:
            return "".join(stream.text_stream)

    def byCurl(self, model: str) -> tuple[int, str]:
        """
        What curl gets, and its exit status.
        """
        said = json.dumps(chat(model, stream=True, max_tokens=8))
        url = f"{self.url}/v1/chat/completions"
        kind = "Content-Type: application/json"
        ended = subprocess.run(
            ["curl", "-sSN", "-m", "60", "-H", kind, "-d", said, url],
            capture_output=True,
            check=False,
            text=True,
        )
        return ended.returncode, ended.stdout

    def test_survive(self) -> None:
        """
        Clients that stream survive a wake that is longer than nginx waits.
        """
        if noOpenAI or noAnthropic:
            self.skipTest(noOpenAI or noAnthropic or "")
        self.start(loading_heartbeat_secs=BEAT)
        with ThreadPoolExecutor(3) as threads:
            asked = [
                threads.submit(by, "llama")
                for by in (self.byOpenAI, self.byAnthropic, self.byCurl)
            ]
            deltas, text, (status, output) = [one.result() for one in asked]
        expected = reply("llama", PROMPT, 8)
        self.assertEqual("".join(delta.content or "" for delta in deltas), expected)
        self.assertEqual(text, expected)
        self.assertEqual(status, 0)
        self.assertTrue(output.startswith(": llmux waking llama, "), output)
        self.assertGreater(output.count(": llmux waking llama, "), 2)
        self.assertTrue(output.endswith("data: [DONE]\n\n"))

    def test_perish(self) -> None:
        """
        Without heartbeats nginx gives up, and so it does on those who do not
        stream.
        """
        self.start(loading_heartbeat_secs=0)
        body = chat("llama", stream=True, max_tokens=8)
        reply = request(self.url, "POST", "/v1/chat/completions", body)
        self.assertEqual(reply.status, 504)
        self.assertIn(b"nginx", reply.body)

    def test_failure(self) -> None:
        """
        A wake that fails after a heartbeat is an exception in both SDKs, and
        an error to curl, and in neither case an answer.
        """
        if noOpenAI or noAnthropic:
            self.skipTest(noOpenAI or noAnthropic or "")
        self.start(loading_heartbeat_secs=BEAT)
        with ThreadPoolExecutor(3) as threads:
            asked = [
                threads.submit(by, "broken")
                for by in (self.byOpenAI, self.byAnthropic, self.byCurl)
            ]
            with self.assertRaises(openai.APIError) as ours:
                asked[0].result()
            with self.assertRaises(anthropic.APIError) as theirs:
                asked[1].result()
            status, output = asked[2].result()
        self.assertEqual(ours.exception.code, "wake_failed")
        self.assertIn("could not be woken", str(theirs.exception))
        self.assertNotEqual(status, 0)
        self.assertIn("event: error\ndata: {", output)

    def test_reasoning(self) -> None:
        """
        With C{loading_text} a chat shows how it goes, before the answer.
        """
        if noOpenAI:
            self.skipTest(noOpenAI)
        self.start(loading_heartbeat_secs=BEAT, loading_text="reasoning")
        deltas = self.byOpenAI("llama")
        thoughts = [getattr(delta, "reasoning_content", None) for delta in deltas]
        self.assertTrue(str(thoughts[0]).startswith("waking llama, "), thoughts)
        self.assertEqual(
            "".join(delta.content or "" for delta in deltas),
            reply("llama", PROMPT, 8),
        )
