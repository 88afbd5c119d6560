"""
What it would cost to have requests taken by several processes, of which one
owns the switcher: a token asked for and given back by AMP over a Unix socket,
in processor time of both sides.  C{python -m benchmarks.workers}.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.amp import AMP, Command, Integer, Unicode

REACTOR: Any = reactor

#: How many requests are made, and how many of them at once.
REQUESTS = 10_000
AT_ONCE = 32


class Acquire(Command):
    """
    A token is wanted.
    """

    arguments = [(b"model", Unicode())]
    response = [(b"token", Integer()), (b"address", Unicode())]


class Release(Command):
    """
    It is given back; nobody waits for an answer.
    """

    arguments = [(b"token", Integer())]
    requiresAnswer = False


class Owner(AMP):
    """
    The process with the switcher, which here says yes at once.
    """

    tokens = 0

    @Acquire.responder
    def acquire(self, model: str) -> dict[str, object]:
        """
        Give a token.
        """
        self.tokens += 1
        return {"token": self.tokens, "address": "http://127.0.0.1:8001"}

    @Release.responder
    def release(self, token: int) -> dict[str, object]:
        """
        Take it back.
        """
        return {}

    def connectionLost(self, reason: Any) -> None:
        """
        The worker has asked enough.
        """
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        print(f"owner:  {used():.0f} us of processor time for each request")
        REACTOR.stop()


async def work(amp: Any, count: int) -> None:
    """
    Make requests one after the other.
    """
    for _ in range(count):
        token = await amp.callRemote(Acquire, model="llama")
        amp.callRemote(Release, token=token["token"])


async def worker(path: str) -> None:
    """
    The process that takes requests.
    """
    factory = Factory.forProtocol(AMP)
    amp: Any = await UNIXClientEndpoint(REACTOR, path).connect(factory)
    await DeferredList(
        [Deferred.fromCoroutine(work(amp, REQUESTS // AT_ONCE)) for _ in range(AT_ONCE)]
    )
    print(f"worker: {used():.0f} us of processor time for each request", flush=True)
    amp.transport.loseConnection()
    REACTOR.callLater(0.1, REACTOR.stop)


def used() -> float:
    """
    Microseconds of processor time for each request.
    """
    times = os.times()
    return (times.user + times.system - START) / REQUESTS * 1e6


START = 0.0


def main() -> None:
    """
    Measure.
    """
    global START
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        ready, write = os.pipe()
        child = os.fork()
        if child:
            UNIXServerEndpoint(REACTOR, path).listen(Factory.forProtocol(Owner))
            os.write(write, b"x")
        else:
            os.read(ready, 1)
            Deferred.fromCoroutine(worker(path))
        times = os.times()
        START = times.user + times.system
        REACTOR.run()
        if child:
            os.waitpid(child, 0)
        else:
            sys.stdout.flush()
            os._exit(0)


if __name__ == "__main__":
    main()
