"""
The clients of a chaos run, and their books.
"""

from __future__ import annotations

import asyncio
import json
import socket
from random import Random
from typing import Any

from attrs import asdict, define, field

from chaos.asks import Ask, anAsk
from chaos.server import now
from chaos.stage import Stage

#: Seconds after which nobody waits any more: far more than llmux's own bounds.
PATIENCE = 150.0


@define(eq=False)
class Record:
    """
    What a client knows of a request.

    @ivar end: one of L{chaos.asks.ENDS}.
    @ivar reused: whether its connection had been used before.
    """

    id: str
    kind: str
    model: str
    sent: str
    faulty: bool
    began: float = field(factory=now)
    ended: float = 0.0
    end: str = ""
    status: int = 0
    code: str = ""
    detail: str = ""
    size: int = 0
    reused: bool = False
    lane: bool = False


class Cut(Exception):
    """
    The connection ended before the answer did.
    """


class Left(Exception):
    """
    The client does not want any more.
    """


class Connection:
    """
    A connection to llmux.
    """

    def __init__(self, reader: Any, writer: Any) -> None:
        self.reader = reader
        self.writer = writer
        self.used = 0

    def close(self) -> None:
        """
        Close it at once.
        """
        self.writer.transport.abort()


async def connect(port: int) -> Connection:
    """
    Make a connection.

    @raise OSError: llmux is not there.
    """
    sock = socket.socket()
    sock.setblocking(False)
    # A slow reader is to be felt.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return Connection(*await asyncio.open_connection(sock=sock, limit=65536))


class Crowd:
    """
    All clients.

    @ivar records: what they know.
    @ivar wanted: how many requests there are to be; L{None}: until stopped.
    """

    def __init__(self, stage: Stage, seed: str, size: int, wanted: int | None) -> None:
        self.stage = stage
        self.records: list[Record] = []
        self.wanted = wanted
        self.stopping = False
        self._seed = seed
        self._size = size
        self._asked = 0

    async def run(self) -> None:
        """
        Ask, until it is enough.
        """
        await asyncio.gather(*(self._client(n) for n in range(self._size)))

    def _isEnough(self) -> bool:
        return self.stopping or (self.wanted is not None and self._asked >= self.wanted)

    async def _client(self, number: int) -> None:
        # One client's requests follow from the seed, whatever becomes of them.
        random = Random(f"{self._seed}-client-{number}")
        connection: Connection | None = None
        while not self._isEnough():
            ask = anAsk(self.stage.models, random)
            pause, keeps = random.random() * 0.4, random.random() < 0.8
            self._asked += 1
            record = self.begin(ask, f"c{number}-{self._asked}")
            connection = await self.ask(ask, record, connection)
            if connection is not None and not keeps:
                connection.close()
                connection = None
            await asyncio.sleep(1 if record.end == "unreachable" else pause)
        if connection is not None:
            connection.close()

    def begin(self, ask: Ask, id: str) -> Record:
        """
        Begin a record.
        """
        record = Record(id, ask.kind, ask.model, ask.sent, ask.faulty)
        record.lane = self.stage.lane
        self.records.append(record)
        return record

    async def ask(
        self, ask: Ask, record: Record, connection: Connection | None = None
    ) -> Connection | None:
        """
        Ask for something, and write down how it went.

        @return: the connection, if it can be used again.
        """
        try:
            if connection is None or connection.reader.at_eof():
                connection = await connect(self.stage.port)
        except OSError as error:
            record.end, record.detail, record.ended = "unreachable", str(error), now()
            return None
        record.reused = connection.used > 0
        connection.used += 1
        keeps = False
        exchange = asyncio.ensure_future(self._exchange(ask, record, connection))
        try:
            done, _ = await asyncio.wait({exchange}, timeout=ask.leaves or PATIENCE)
            if not done:
                record.end = "stuck" if ask.leaves is None else "left"
                exchange.cancel()
                await asyncio.wait({exchange})
            else:
                keeps = exchange.result()
        except Left:
            record.end = "left"
        except Cut as cut:
            record.end = "broken" if record.status else "dropped"
            record.detail = str(cut)
        except OSError as error:
            record.end = "broken" if record.status else "dropped"
            record.detail = repr(error)
        record.ended = now()
        if not keeps:
            connection.close()
            return None
        return connection

    async def _exchange(self, ask: Ask, record: Record, connection: Connection) -> bool:
        """
        @return: whether the connection can be used again.

        @raise Cut: the answer is not whole.
        @raise Left: the client has had enough.
        """
        reader, writer = connection.reader, connection.writer
        writer.write(ask.head + f"X-Request-Id: {record.id}\r\n\r\n".encode())
        writer.write(ask.body)
        sending = asyncio.ensure_future(writer.drain())
        # An error may come, and the rest of the body be of no interest.
        sending.add_done_callback(lambda future: future.exception())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Cut(f"before the head: {error!r}") from None
        line, *lines = head.decode("latin-1").rstrip().split("\r\n")
        headers = {}
        for header in lines:
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        record.status = int(line.split()[1])
        body = await self._body(ask, record, reader, headers)
        self._judge(ask, record, headers, body)
        return headers.get("connection", "").lower() != "close"

    async def _body(
        self, ask: Ask, record: Record, reader: Any, headers: dict[str, str]
    ) -> bytes:
        body = b""
        try:
            if headers.get("transfer-encoding") == "chunked":
                while size := int(await reader.readuntil(b"\r\n"), 16):
                    body += await reader.readexactly(size)
                    record.size = len(body)
                    if await reader.readexactly(2) != b"\r\n":
                        raise Cut("a chunk that does not end")
                    if ask.pause:
                        await asyncio.sleep(ask.pause)
                    if ask.leavesAfter is not None and len(body) >= ask.leavesAfter:
                        raise Left
                await reader.readexactly(2)
            elif "content-length" in headers:
                body = await reader.readexactly(int(headers["content-length"]))
            else:
                raise Cut("an answer without a frame")
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            raise Cut(f"after {len(body)} bytes: {type(error).__name__}") from None
        record.size = len(body)
        return body

    def _judge(
        self, ask: Ask, record: Record, headers: dict[str, str], body: bytes
    ) -> None:
        """
        Say how an answer ended that is whole.
        """
        record.end = "whole"
        if headers.get("x-request-id") != record.id:
            record.end, record.detail = "wrong", f"another's id: {headers}"
            return
        code = ""
        if headers.get("content-type") == "application/json" and record.status >= 400:
            try:
                error = json.loads(body)["error"]
                code = error["code"] if error["type"] == "llmux_error" else ""
            except (ValueError, LookupError, TypeError):
                code = ""
        record.code = code
        if code and code != ask.code:
            record.end, record.detail = "error", body.decode("utf-8", "replace")
            return
        right = body == ask.answer if ask.check is None else ask.check(body)
        if record.status != ask.status or not right or code != ask.code:
            record.end = "wrong"
            record.detail = f"{record.status} {len(body)} bytes: {body[-200:]!r}"

    def lines(self) -> list[dict[str, Any]]:
        """
        All records, to be written down.
        """
        return [asdict(record) for record in self.records]
