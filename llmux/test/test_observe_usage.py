"""
Tests for L{llmux.observe.usage}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llmux.observe.usage import Usage, usageIn

#: How answers end, and what they say.
ENDS = {
    "OpenAI": (
        (
            b'"choices":[],"usage":{"prompt_tokens":5,"total_tokens":12,'
            b'"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":3}}}'
        ),
        Usage(5, 7),
    ),
    "OpenAI's stream": (
        (
            b'data: {"choices":[{}],"usage":null}\n\n'
            b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n'
            b"data: [DONE]\n\n"
        ),
        Usage(5, 7),
    ),
    "null behind it": (
        (
            b'data: {"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n'
            b'data: {"usage":null}\n\n'
        ),
        Usage(5, 7),
    ),
    "one that counts up": (
        (
            b'data: {"usage":{"prompt_tokens":5,"completion_tokens":1}}\n\n'
            b'data: {"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\n'
        ),
        Usage(5, 2),
    ),
    "OpenAI's responses": (
        (
            b'"usage": {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 0}, '
            b'"output_tokens": 7}, "user": null}}\n\n'
        ),
        Usage(5, 7),
    ),
    "embeddings": (b'"usage": {"prompt_tokens": 5, "total_tokens": 5}}', Usage(5)),
    "Anthropic": (
        (
            b'"usage":{"input_tokens":1,"cache_creation_input_tokens":2,'
            b'"cache_read_input_tokens":2,"cache_creation":{"ephemeral_5m_input_tokens":9},'
            b'"output_tokens":7}}'
        ),
        Usage(5, 7),
    ),
    "llama.cpp": (
        (
            b'"timings":{"cache_n":2,"prompt_n":3,"prompt_ms":1.5,"predicted_n":7}}\n\n'
            b"data: [DONE]\n\n"
        ),
        Usage(5, 7),
    ),
    "llama.cpp, asked": (
        (
            b'data: {"usage":{"completion_tokens":7,"prompt_tokens":5},'
            b'"timings":{"cache_n":0,"prompt_n":5,"predicted_n":7}}\n\n'
            b"data: [DONE]\n\n"
        ),
        Usage(5, 7),
    ),
    "Ollama": (
        b'"done":true,"prompt_eval_count":5,"eval_count":7,"eval_duration":1}\n',
        Usage(5, 7),
    ),
    "none": (b'data: {"choices":[]}\n\ndata: [DONE]\n\n', Usage()),
    "null": (b'{"usage": null}', Usage()),
    "nonsense": (b'{"usage": {"prompt_tokens": "many"}}', Usage()),
    "text": (rb'{"content": "\"usage\": {\"prompt_tokens\": 9}"}', Usage()),
    "nothing": (b"", Usage()),
}


class UsageTests(SynchronousTestCase):
    """
    Tests for L{usageIn}.
    """

    def test_ends(self) -> None:
        """
        It is found at the end of what servers of each kind send, and nothing
        else is taken for it.
        """
        for name, (end, usage) in ENDS.items():
            self.assertEqual(usageIn(b"", [end]), usage, name)

    def test_cut(self) -> None:
        """
        It does not matter where the end was cut into parts, or into chunks.
        """
        end, usage = ENDS["OpenAI's stream"]
        for place in range(len(end)):
            parts = [end[:place], end[place:]]
            self.assertEqual(usageIn(b"", parts), usage)
            framed = [b"a\r\n" + parts[0] + b"\r\n1F\r\n" + parts[1] + b"\r\n0\r\n\r\n"]
            self.assertEqual(usageIn(b"", framed), usage)

    def test_anthropic(self) -> None:
        """
        Anthropic's streams say at the beginning what the prompt took, and at
        the end what was written.
        """
        first = (
            b"event: message_start\ndata: "
            b'{"message":{"usage":{"input_tokens":5,"output_tokens":1}}}\n\n'
        )
        last = (
            b'event: message_delta\ndata: {"usage":{"output_tokens":7}}\n\n',
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        )
        self.assertEqual(usageIn(first, last), Usage(5, 7))
        self.assertEqual(usageIn(b"", last), Usage(None, 7))
