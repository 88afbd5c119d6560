#!/usr/bin/env python3
"""
A Twisted program with llmux inside: its own pages, the models beside them, and
a batch job that holds one model awake until it is done.

Run it with C{python3 program.py}, then::

    curl http://127.0.0.1:8080/
    curl http://127.0.0.1:8080/v1/models
    curl -d 'Is water wet?
    Is the moon far?' http://127.0.0.1:8080/judge
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

import treq
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from llmux import Config, LLMuxError, Multiplexer, ProxySite, load

#: The model that the batch job asks.
JUDGE = "judge"


async def judge(multiplexer: Multiplexer, questions: list[str]) -> list[str]:
    """
    Put questions to one model, without another being woken in between.

    @raise LLMuxError: the model is not to be had.
    """
    # In the same queue as the requests that come by HTTP: it waits its turn,
    # and the model stays awake until the token is given back.
    token = await multiplexer.switcher.acquire(JUDGE)
    try:
        answers = []
        for question in questions:
            if token.wasCut:
                # The server died, or policy.drain_timeout_secs is over.
                raise ConnectionError(f"{JUDGE} is not awake any more")
            # Straight to the model's server, wherever its hooks have put it.
            response = await treq.post(
                f"{token.address}/v1/chat/completions",
                json={
                    "model": JUDGE,
                    "messages": [{"role": "user", "content": question}],
                },
            )
            reply = await treq.json_content(response)
            answers.append(reply["choices"][0]["message"]["content"])
        return answers
    finally:
        token.release()


class Judging(Resource):
    """
    C{POST /judge}: questions, one a line; the answers as a JSON list.
    """

    isLeaf = True
    log = Logger()

    def __init__(self, multiplexer: Multiplexer) -> None:
        super().__init__()
        self._multiplexer = multiplexer

    def render_POST(self, request: Request) -> int:
        """
        Have them answered.
        """
        questions = request.content.read().decode("utf-8", "replace").splitlines()
        work = Deferred.fromCoroutine(judge(self._multiplexer, questions))

        def answered(answers: list[str]) -> None:
            self._finish(request, 200, answers)

        def failed(failure: Any) -> None:
            # If the client has left, there is nobody to tell.
            if not left:
                refused = failure.check(LLMuxError)
                if not refused:
                    self.log.failure("while judging", failure)
                self._finish(request, 503 if refused else 502, "no judge to be had")

        # If the client leaves, so does the batch: its place in the queue, or
        # its token, is given back.
        left: list[Any] = []
        request.notifyFinish().addErrback(lambda why: (left.append(why), work.cancel()))
        work.addCallbacks(answered, failed)
        return NOT_DONE_YET

    def _finish(self, request: Request, status: int, value: object) -> None:
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", b"application/json")
        request.write(json.dumps(value).encode() + b"\n")
        request.finish()


class Home(Resource):
    """
    The program's own front page.
    """

    def __init__(self, multiplexer: Multiplexer) -> None:
        super().__init__()
        self._multiplexer = multiplexer

    def render_GET(self, request: Request) -> bytes:
        """
        Say what each model is doing.
        """
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        models = self._multiplexer.switcher.snapshot().models.values()
        return "".join(
            f"{model.name}: {model.state.value}, {model.inFlight} in flight\n"
            for model in models
        ).encode()


def makeSite(multiplexer: Multiplexer, reactor: Any) -> ProxySite:
    """
    The program's pages, with llmux's among them.
    """
    root = Resource()
    root.putChild(b"", Home(multiplexer))
    root.putChild(b"judge", Judging(multiplexer))
    # All of /v1/ is llmux's.
    root.putChild(b"v1", multiplexer.resource)
    # A Site of twisted.web's would do.  This one bounds what clients may send
    # and how slowly, leaves forms to the models, and keeps a model awake until
    # the client's connection has taken the last byte.
    return ProxySite(root, reactor, multiplexer.config.limits)


async def main(reactor: Any, config: Config, description: str) -> None:
    """
    Serve until a signal comes.
    """
    multiplexer = Multiplexer(config, reactor)
    endpoint = serverFromString(reactor, description)
    port = await endpoint.listen(makeSite(multiplexer, reactor))
    multiplexer.startService()

    async def stop() -> None:
        # No new connections, then whatever is in flight may end.
        await port.stopListening()
        await multiplexer.stopService()

    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: Deferred.fromCoroutine(stop())
    )
    await Deferred()


if __name__ == "__main__":
    folder = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description="A program with llmux inside.")
    parser.add_argument("--config", default=os.path.join(folder, "config.yaml"))
    parser.add_argument("--listen", default="tcp:8080:interface=127.0.0.1")
    options = parser.parse_args()
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)])
    try:
        configuration = load(options.config, os.environ)
    except LLMuxError as error:
        sys.exit(str(error))
    react(
        lambda reactor: Deferred.fromCoroutine(
            main(reactor, configuration, options.listen)
        )
    )
