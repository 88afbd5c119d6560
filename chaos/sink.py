"""
A model's server that takes anything and keeps nothing: C{python -m chaos.sink
PORT}.  C{?events=N&every=S} in the target makes its answer a stream.
"""

from __future__ import annotations

import asyncio
import re
import resource
import sys

EVENT = b'22\r\ndata: {"choices": [{"text": "x"}]}\n\n\r\n'.replace(
    b"22\r\n", b"%x\r\n" % len(b'data: {"choices": [{"text": "x"}]}\n\n')
)
ANSWER = b'{"choices": [{"message": {"content": "%d"}, "finish_reason": "stop"}]}'
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """
    A connection.
    """
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            left = size = int(found[1]) if found else 0
            while left:
                part = await reader.read(min(left, 1 << 20))
                if not part:
                    return
                left -= len(part)
            asked = re.search(rb"events=(\d+)&every=([\d.]+)", head)
            if asked is None:
                body = ANSWER % size
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(body), body)
                )
            else:
                writer.write(STREAM)
                for _ in range(int(asked[1])):
                    writer.write(EVENT)
                    await asyncio.sleep(float(asked[2]))
                writer.write(b"0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        return
    finally:
        writer.close()


async def main() -> None:
    """
    Serve.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    server = await asyncio.start_server(
        serve, "127.0.0.1", int(sys.argv[1]), limit=1 << 20, backlog=4096
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
