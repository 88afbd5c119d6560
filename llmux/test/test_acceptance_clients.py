"""
llmux as a process, spoken to by the clients that people use.
"""

from __future__ import annotations

import asyncio
from typing import Any

from llmux.demo import reply
from llmux.test._http import Stream
from llmux.test._processes import eventually, needsPrograms
from llmux.test._service import ProcessTestCase

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

PROMPT: Any = [{"role": "user", "content": "Hi"}]


class ClientTestCase(ProcessTestCase):
    """
    A test with two models and C{self.service}.
    """

    #: More settings of each model, and of the whole.
    model: dict[str, Any] = {}
    more: dict[str, Any] = {}

    def setUp(self) -> None:
        """
        Start all.
        """
        super().setUp()
        self.llama, self.mistral = self.backends("llama", "mistral")
        settings = self.settings(
            self.llama, self.mistral, model=self.model, **self.more
        )
        settings["models"]["broken"] = {
            "port": 9,
            "wake": "echo wake >>broken.log; exit 1",
            "sleep": "true",
            "alive": "false",
        }
        self.service = self.serve(settings)
        self.url = f"{self.service.url}/v1"

    def attempts(self, status: int, model: str) -> float:
        """
        How many requests have ended with a status.
        """
        return self.service.metric(
            f'llmux_requests_total{{model="{model}",status="{status}"}}'
        )

    def occupy(self) -> Stream:
        """
        Have C{llama} talk for as long as the test wants.
        """
        stream = self.service.stream("llama", tokens=100_000, rate=50)
        self.addCleanup(stream.close)
        stream.next()
        return stream


class OpenAITestCase(ClientTestCase):
    """
    A test with OpenAI's SDK.
    """

    def client(self, retries: int = 0) -> openai.OpenAI:
        """
        A client.
        """
        client = openai.OpenAI(
            base_url=self.url, api_key="any", max_retries=retries, timeout=60
        )
        self.addCleanup(client.close)
        return client


class OpenAITests(OpenAITestCase):
    """
    Tests with OpenAI's SDK.
    """

    skip = noOpenAI or needsPrograms("curl")

    def test_sync(self) -> None:
        """
        The model that is asked answers, as do the other routes.
        """
        client = self.client()
        for model in ("llama", "mistral"):
            done = client.chat.completions.create(
                model=model, messages=PROMPT, max_tokens=6
            )
            self.assertEqual(done.choices[0].message.content, reply(model, PROMPT, 6))
        found = client.embeddings.create(
            model="mistral", input="Hi", encoding_format="float"
        )
        self.assertGreater(len(found.data[0].embedding), 1)
        self.assertEqual(
            [model.id for model in client.models.list()], ["broken", "llama", "mistral"]
        )

    def test_stream(self) -> None:
        """
        A stream is the same words, one by one.
        """
        words = [
            chunk.choices[0].delta.content or ""
            for chunk in self.client().chat.completions.create(
                model="llama", messages=PROMPT, max_tokens=14, stream=True
            )
            if chunk.choices
        ]
        self.assertGreater(len(words), 10)
        self.assertEqual("".join(words), reply("llama", PROMPT, 14))

    def test_async(self) -> None:
        """
        Many at once, for both models and in both ways, are all answered.
        """

        async def one(client: openai.AsyncOpenAI, model: str) -> str:
            done = await client.chat.completions.create(
                model=model, messages=PROMPT, max_tokens=6
            )
            return done.choices[0].message.content or ""

        async def streamed(client: openai.AsyncOpenAI, model: str) -> str:
            stream = await client.chat.completions.create(
                model=model, messages=PROMPT, max_tokens=6, stream=True
            )
            return "".join(
                [
                    chunk.choices[0].delta.content or ""
                    async for chunk in stream
                    if chunk.choices
                ]
            )

        async def many() -> list[str]:
            async with openai.AsyncOpenAI(
                base_url=self.url, api_key="any", max_retries=0, timeout=60
            ) as client:
                return await asyncio.gather(
                    *(
                        way(client, model)
                        for _ in range(4)
                        for way in (one, streamed)
                        for model in ("llama", "mistral")
                    )
                )

        expected = [reply(model, PROMPT, 6) for model in ("llama", "mistral")]
        self.assertEqual(asyncio.run(many()), expected * 8)

    def test_unknownModel(self) -> None:
        """
        An unknown model is C{NotFoundError}, and is not tried again.
        """
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client(2).chat.completions.create(model="nobody", messages=PROMPT)
        self.assertEqual(caught.exception.code, "model_not_found")
        self.assertEqual(caught.exception.type, "llmux_error")
        self.assertEqual(caught.exception.param, "model")
        self.assertTrue(caught.exception.request_id)
        self.assertEqual(self.attempts(404, "unknown"), 1)

    def test_badRequest(self) -> None:
        """
        A model that is a number is C{BadRequestError}.
        """
        model: Any = 7
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client(2).chat.completions.create(model=model, messages=PROMPT)
        self.assertEqual(caught.exception.code, "invalid_body")

    def test_wakeFailed(self) -> None:
        """
        A model that cannot be woken is C{InternalServerError} with status
        503, and is not tried again: to wake it again at once would be no use.
        """
        with self.assertRaises(openai.InternalServerError) as caught:
            self.client(2).chat.completions.create(model="broken", messages=PROMPT)
        self.assertEqual(caught.exception.status_code, 503)
        self.assertEqual(caught.exception.code, "wake_failed")
        self.assertIn("retry-after", caught.exception.response.headers)
        self.assertEqual(self.attempts(503, "broken"), 1)
        self.assertEqual((self.folder / "broken.log").read_text(), "wake\n")

    def test_backendError(self) -> None:
        """
        A server that breaks off before it answers is C{InternalServerError}
        with status 502, which the SDK tries again.
        """
        with self.assertRaises(openai.InternalServerError) as caught:
            self.client(1).chat.completions.create(
                model="llama", messages=PROMPT, extra_body={"x_demo_drop": True}
            )
        self.assertEqual(caught.exception.status_code, 502)
        self.assertEqual(caught.exception.code, "backend_error")
        self.assertEqual(self.attempts(502, "llama"), 2)

    def test_backendsOwnError(self) -> None:
        """
        What the server itself answers is the server's: status, words and
        C{Retry-After}.
        """
        with self.assertRaises(openai.RateLimitError) as caught:
            self.client().chat.completions.create(
                model="llama",
                messages=PROMPT,
                extra_body={"x_demo_status": 429, "x_demo_retry_after": 7},
            )
        self.assertEqual(caught.exception.response.headers["retry-after"], "7")
        self.assertNotEqual(caught.exception.type, "llmux_error")

    def test_brokenStream(self) -> None:
        """
        A stream that breaks raises, and is never taken for a whole one.
        """
        stream = self.client().chat.completions.create(
            model="llama",
            messages=PROMPT,
            max_tokens=50,
            stream=True,
            extra_body={"x_demo_cut_after": 5},
        )
        words: list[str] = []
        with self.assertRaises(openai.APIError):
            words.extend(chunk.choices[0].delta.content or "" for chunk in stream)
        self.assertGreater(len(words), 0)

    def test_leave(self) -> None:
        """
        To close a stream stops the server's work.
        """
        stream = self.client().chat.completions.create(
            model="llama",
            messages=PROMPT,
            stream=True,
            extra_body={"x_demo_tokens": 100_000, "x_demo_tokens_per_second": 50},
        )
        next(iter(stream))
        stream.close()
        eventually(lambda: self.llama.seen()[-1]["end"] == "left", "it is told")


class OpenAILimitTests(OpenAITestCase):
    """
    Tests with OpenAI's SDK where there are limits to be met.
    """

    skip = noOpenAI or needsPrograms("curl")
    model = {"max_in_flight": 1, "max_queue": 1}
    more = {
        "limits": {"body_mb": 0.01},
        "policy": {"request_timeout_secs": 2},
    }

    def test_tooLarge(self) -> None:
        """
        A body over the limit is an C{APIStatusError} with 413.
        """
        with self.assertRaises(openai.APIStatusError) as caught:
            self.client(2).completions.create(model="llama", prompt="x" * 20_000)
        self.assertEqual(caught.exception.status_code, 413)
        self.assertEqual(caught.exception.code, "body_too_large")

    def test_queueFull(self) -> None:
        """
        A full queue is C{RateLimitError} with a C{Retry-After}, after which
        the SDK comes again by itself, and is served.
        """
        stream = self.occupy()
        waiting = self.service.asked("llama")
        depth = 'llmux_request_queue_depth{model="llama"}'
        eventually(lambda: self.service.metric(depth) == 1, "one waits")
        with self.assertRaises(openai.RateLimitError) as caught:
            self.client().chat.completions.create(model="llama", messages=PROMPT)
        self.assertEqual(caught.exception.code, "queue_full")
        self.assertGreaterEqual(
            int(caught.exception.response.headers["retry-after"]), 1
        )
        stream.close()
        self.assertEqual(waiting.reply().status, 200)
        done = self.client(2).chat.completions.create(model="llama", messages=PROMPT)
        self.assertEqual(done.choices[0].message.content, reply("llama", PROMPT))

    def test_waitedTooLong(self) -> None:
        """
        A wait that is too long is C{InternalServerError} with 504.
        """
        self.occupy()
        with self.assertRaises(openai.InternalServerError) as caught:
            self.client().chat.completions.create(model="mistral", messages=PROMPT)
        self.assertEqual(caught.exception.status_code, 504)
        self.assertEqual(caught.exception.code, "switch_timeout")
        self.assertEqual(self.mistral.state(), "asleep")


class AnthropicTests(ClientTestCase):
    """
    Tests with Anthropic's SDK.
    """

    skip = noAnthropic or needsPrograms("curl")

    def client(self, retries: int = 0) -> anthropic.Anthropic:
        """
        A client.
        """
        client = anthropic.Anthropic(
            base_url=self.service.url, api_key="any", max_retries=retries, timeout=60
        )
        self.addCleanup(client.close)
        return client

    def test_messages(self) -> None:
        """
        C{/v1/messages} and C{/v1/messages/count_tokens} are routes like any.
        """
        client = self.client()
        for model in ("llama", "mistral"):
            message: Any = client.messages.create(
                model=model, messages=PROMPT, max_tokens=6
            )
            self.assertEqual(message.content[0].text, reply(model, PROMPT, 6))
        counted = client.messages.count_tokens(model="llama", messages=PROMPT)
        self.assertGreater(counted.input_tokens, 0)

    def test_stream(self) -> None:
        """
        So are its streams.
        """
        with self.client().messages.stream(
            model="llama", messages=PROMPT, max_tokens=12
        ) as stream:
            words = list(stream.text_stream)
        self.assertGreater(len(words), 5)
        self.assertEqual("".join(words), reply("llama", PROMPT, 12))

    def test_errors(self) -> None:
        """
        llmux's errors are those classes that the SDK has for their statuses.
        """
        with self.assertRaises(anthropic.NotFoundError):
            self.client(2).messages.create(
                model="nobody", messages=PROMPT, max_tokens=6
            )
        with self.assertRaises(anthropic.InternalServerError) as caught:
            self.client(2).messages.create(
                model="broken", messages=PROMPT, max_tokens=6
            )
        self.assertEqual(caught.exception.status_code, 503)
        self.assertEqual(self.attempts(503, "broken"), 1)

    def test_brokenStream(self) -> None:
        """
        A stream that breaks raises.
        """
        with (
            self.assertRaises(anthropic.APIError),
            self.client().messages.stream(
                model="llama",
                messages=PROMPT,
                max_tokens=50,
                extra_body={"x_demo_cut_after": 6},
            ) as stream,
        ):
            list(stream.text_stream)


class CurlTests(ClientTestCase):
    """
    Tests with C{curl -N}.
    """

    skip = needsPrograms("curl")

    def curl(self, *options: str) -> tuple[int, str]:
        """
        Ask for a stream by C{curl}.
        """
        return self.processes.run(
            *("curl", "-sSN", f"{self.url}/chat/completions"),
            *("-H", "Content-Type: application/json", *options),
        )

    def test_stream(self) -> None:
        """
        It prints the events, and is content.
        """
        status, output = self.curl(
            "-d",
            '{"model": "mistral", "stream": true, "max_tokens": 5,'
            ' "messages": [{"role": "user", "content": "Hi"}]}',
        )
        self.assertEqual(status, 0)
        self.assertEqual(output.strip().splitlines()[-1], "data: [DONE]")

    def test_broken(self) -> None:
        """
        It notices that a stream broke (18 and 56: the transfer is not whole),
        and prints llmux's frame about it.
        """
        status, output = self.curl(
            "-d",
            '{"model": "mistral", "stream": true, "x_demo_cut_after": 4,'
            ' "messages": [{"role": "user", "content": "Hi"}]}',
        )
        self.assertIn(status, (18, 56))
        self.assertIn("event: error\ndata: {", output)
        self.assertIn('"backend_error"', output)
        self.assertNotIn("[DONE]", output)

    def test_oldProtocol(self) -> None:
        """
        HTTP/1.0 gets its stream, too.
        """
        status, output = self.curl(
            "--http1.0",
            "-d",
            '{"model": "llama", "stream": true, "max_tokens": 5, "messages": []}',
        )
        self.assertEqual(status, 0, output)
        self.assertIn("data: [DONE]", output)
