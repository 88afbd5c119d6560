"""
What it costs to find the model in a request body: C{python -m
benchmarks.bodies}.

Each body is a file on disk, as large ones are when they come in.
"""

from __future__ import annotations

import base64
import os
import resource
import tempfile
import time
from collections.abc import Callable
from typing import IO

from llmux.web._errors import BadBody
from llmux.web._model import nameInBody, withModel

JSON = b"application/json"
FORM = b"multipart/form-data; boundary=line"
MB = 1_000_000


def chat(size: int) -> bytes:
    """
    A chat request with one base64 image.
    """
    image = base64.b64encode(os.urandom(size * 3 // 4))
    return (
        b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":'
        b'{"url":"data:image/png;base64,' + image + b'"}}]}],"model":"llama"}'
    )


def upload(size: int) -> bytes:
    """
    An upload of a file, which comes before the model.
    """
    part = b'--line\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    return (
        part % (b"file", b'; filename="a.wav"', os.urandom(size))
        + part % (b"model", b"", b"whisper")
        + b"--line--\r\n"
    )


#: What it is called, its content type, and how to make it.
BODIES: list[tuple[str, bytes, Callable[[], bytes]]] = [
    ("small chat", JSON, lambda: chat(200)),
    ("10 MB chat with an image", JSON, lambda: chat(10 * MB)),
    (
        "10 MB of embedding input",
        JSON,
        lambda: b'{"model":"llama","input":[' + b"1234," * (2 * MB) + b"1]}",
    ),
    ("50 MB of [", JSON, lambda: b"[" * 50 * MB),
    ('50 MB of {"a":', JSON, lambda: b'{"a":' * 10 * MB),
    (
        "50 MB of empty objects",
        JSON,
        lambda: b'{"model":"llama","a":[' + b"{}," * (17 * MB) + b"1]}",
    ),
    (
        "12 MB of duplicate models",
        JSON,
        lambda: b"{" + b'"model":"a",' * MB + b'"model":"a"}',
    ),
    ("100 MB upload, file first", FORM, lambda: upload(100 * MB)),
    ("50 MB of line breaks as a form", FORM, lambda: b"--line\r\n" + b"\r" * 50 * MB),
    (
        "100 MB of anything as a form",
        b"application/x-www-form-urlencoded",
        lambda: os.urandom(100 * MB),
    ),
]


def outcome(work: Callable[[], object]) -> str:
    """
    Do something, for what is to be printed about it.
    """
    try:
        return repr(work())
    except BadBody as error:
        return f"refused: {error}"


def measure(work: Callable[[], object], times: int) -> float:
    """
    @return: the least number of seconds that something took.
    """
    least = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        outcome(work)
        least = min(least, time.perf_counter() - start)
    return least


def report(name: str, kind: bytes, make: Callable[[], bytes]) -> None:
    """
    Measure one body, and print a line about it.
    """
    file: IO[bytes]
    with tempfile.TemporaryFile() as file:
        length = file.write(make())

        def find() -> str | None:
            return nameInBody(kind, None, file, length)

        def rename() -> object:
            return withModel(kind, file, length, "another/name")

        times = 1000 if length < 10_000 else 3
        found, renamed = measure(find, times), measure(rename, times)
        print(
            f"{name:31} {found * 1e3:9.3f} {renamed * 1e3:9.3f}  {outcome(find)[:60]}"
        )


def main() -> None:
    """
    Print the table.
    """
    print(f"{'body':31} {'find ms':>9} {'rename ms':>9}  found")
    for body in BODIES:
        report(*body)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory, of which the making of the bodies is most: {peak >> 10} MiB")


if __name__ == "__main__":
    main()
