"""
Known attacks, on both ways through llmux, with nginx as the referee of what is
a request.
"""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.web.resource import Resource
from twisted.web.server import Site

from llmux.test._attacks import ATTACKS, Attack
from llmux.test._processes import Processes, freePort, isListening
from llmux.test._wire import REACTOR, Peer, WireCase, pause, post
from llmux.web.exchange import Context
from llmux.web.lane import Lane
from llmux.web.resource import ProxyResource
from llmux.web.site import ProxySite

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{server}; proxy_http_version 1.1;
        }}
    }}
}}
"""


class Server(Resource):
    """
    A model's server that remembers what it is asked.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, bytes, bytes, dict[bytes, list[bytes]]]] = []

    def render(self, request: Any) -> bytes:
        """
        Remember.
        """
        found = re.search(rb"id\d+", request.uri)
        name = "" if found is None else found[0].decode()
        headers = {
            key.lower(): values
            for key, values in request.requestHeaders.getAllRawHeaders()
        }
        self.asked.append((name, request.uri, request.content.read(), headers))
        return b"ok"

    def uris(self, attack: int) -> list[bytes]:
        """
        The targets of what came of an attack.
        """
        return [uri for name, uri, _, _ in self.asked if name == f"id{attack:03}"]


class AttackCase(WireCase):
    """
    All attacks at once, each on a connection of its own.
    """

    timeout = 60

    def setUp(self) -> None:
        """
        Start a server that answers by itself.
        """
        super().setUp()
        self.server = Server()
        self.serverPort = self.listen(Site(self.server))
        self.start({"a": {"port": self.serverPort}})

    async def attack(self, port: int) -> list[Peer]:
        """
        Attack, and wait until nothing moves any more.

        @return: the clients.
        """
        peers = []
        for attack in ATTACKS:
            endpoint = TCP4ClientEndpoint(REACTOR, "127.0.0.1", port)
            peer: Any = await endpoint.connect(Factory.forProtocol(Peer))
            self.clients.append(peer)
            peer.send(attack.sent)
            peers.append(peer)
        before, quiet = -1, 0
        while quiet < 3:
            await pause(0.1)
            now = len(self.server.asked) + sum(
                len(peer.received) + peer.over for peer in peers
            )
            quiet = quiet + 1 if now == before else 0
            before = now
        return peers


class Attacks(AttackCase):
    """
    What every front end has to do.
    """

    async def test_attacks(self) -> None:
        """
        Nothing that is hidden in a request reaches a server, as many requests
        do as there are, and nothing that was injected is a header of either
        side's.
        """
        peers = await self.attack(self.port)
        for number, (attack, peer) in enumerate(zip(ATTACKS, peers, strict=True)):
            self.assertWellMet(attack, peer, self.server.uris(number))
        for name, _, body, headers in self.server.asked:
            self.assertNotIn(b"x-injected", headers, name)
            self.assertEqual(headers[b"host"], [b"127.0.0.1:%d" % self.serverPort])
            self.assertEqual(headers[b"x-forwarded-for"], [b"127.0.0.1"], name)
            self.assertIn(b"via", headers, name)
            self.assertNotIn(b"transfer-encoding", headers, name)
            self.assertNotIn(b"upgrade", headers, name)
            if body:
                self.assertEqual(headers[b"content-length"], [b"%d" % len(body)])
        self.assertTrue(self.inFlight() == 0)

    def assertWellMet(self, attack: Attack, peer: Peer, uris: list[bytes]) -> None:
        """
        An attack came to nothing.
        """
        self.assertFalse([uri for uri in uris if uri.endswith(b"/smuggled")], attack)
        self.assertFalse([uri for uri in uris if b"/smuggled" in uri], attack)
        self.assertEqual(len(uris), attack.passes, attack)
        said = peer.received
        self.assertNotIn(b"\nX-Injected", said, attack)
        answers = re.findall(rb"HTTP/1\.1 (\d\d\d) ", said)
        self.assertEqual(not answers, attack.waits, attack)
        self.assertEqual(answers[: len(uris)], [b"200"] * len(uris), attack)
        for status in answers[len(uris) :]:
            self.assertIn(status, (b"400", b"404", b"413", b"505"), attack)

    async def test_referee(self) -> None:
        """
        Whatever reaches a server through llmux reaches it through nginx as
        well, in the same order: llmux sees no request where nginx sees none.
        """
        if NGINX is None:
            self.skipTest("not installed: nginx")
        processes = Processes()
        self.addCleanup(processes.end)
        port = freePort()
        text = CONFIGURATION.format(
            folder=processes.folder, port=port, server=self.serverPort
        )
        path = Path(processes.folder) / "nginx.conf"
        path.write_text(text)
        processes.start(str(NGINX), "-c", str(path))
        while not isListening(port):
            await pause(0.05)
        await self.attack(port)
        referee = [self.server.uris(number) for number in range(len(ATTACKS))]
        self.assertTrue(any(referee))
        self.server.asked.clear()
        await self.attack(self.port)
        for number, attack in enumerate(ATTACKS):
            ours = self.server.uris(number)
            if attack.name in REWRITTEN:
                ours = ours[: len(referee[number])] and referee[number]
            self.assertEqual(ours, referee[number][: len(ours)], attack)

    async def test_bomb(self) -> None:
        """
        A compressed body is passed on as it is, and is looked into by nobody.
        """
        bomb = gzip.compress(bytes(10_000_000))
        client = await self.ask(
            post(bomb, b"/id0?model=a", b"Content-Encoding: gzip\r\n")
        )
        response = await client.takeResponse()
        self.assertEqual(response.status, 200)
        self.assertEqual(self.server.asked[0][2], bomb)


#: What nginx does not pass on byte for byte, or refuses as it reads targets
#: where llmux leaves that to the server.
REWRITTEN = {
    "an absolute target",
    "two slashes",
    "dots",
    "encoded line ends",
    "an encoded NUL",
    "encoded slashes",
}


class SiteAttackTests(Attacks):
    """
    The usual way.
    """

    def frontEnd(self, context: Context) -> ProxySite:
        """
        See L{WireCase.frontEnd}.
        """
        return ProxySite(ProxyResource(context), REACTOR, context.config.limits)


class LaneAttackTests(Attacks):
    """
    The lane.
    """

    def frontEnd(self, context: Context) -> ProxySite:
        """
        See L{WireCase.frontEnd}.
        """
        resource = ProxyResource(context)
        site = ProxySite(resource, REACTOR, context.config.limits)
        lane = Lane(context, resource.serves)
        self.addCleanup(lane.close)
        site.protocol = lane.protocol  # type: ignore[assignment]
        return site


del Attacks
