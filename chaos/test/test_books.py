"""
The observer of a chaos run sees what must not happen.
"""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chaos.books import Books, judge
from chaos.clients import Record
from chaos.torments import Torment


def record(
    id: str = "r", end: str = "whole", model: str = "ash", **more: object
) -> Record:
    """
    What a client knows, of a request from 10 to 11.
    """
    made = Record(id, "short", model, "hash", False, 10.0, 11.0, end, 200)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def asked(id: str = "r", **more: object) -> dict[str, object]:
    """
    What a server knows.
    """
    return {
        "what": "asked",
        "id": id,
        "number": 1,
        "arrived": 10.5,
        "state": "awake",
        "sha256": "hash",
        **more,
    }


ENDED = {"what": "ended", "id": "r", "number": 1, "end": "done"}
STARTED = {"what": "started"}


class BooksTests(SynchronousTestCase):
    """
    Tests for L{judge}.
    """

    def judged(
        self,
        records: list[Record],
        *torments: Torment,
        ash: list[dict[str, object]] | None = None,
        birch: list[dict[str, object]] | None = None,
        hooks: str = "",
    ) -> list[str]:
        """
        What is said of these books.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        usual = [STARTED, asked(), ENDED]
        for name, lines in {
            "ash": usual if ash is None else ash,
            "birch": birch,
        }.items():
            text = "".join(json.dumps(line) + "\n" for line in lines or [])
            (folder / f"{name}.book").write_text(text)
        (folder / "ash.hooks").write_text(hooks)
        return judge(records, torments, Books(folder, ["ash", "birch"]))

    def assertSaid(self, said: list[str], *words: str) -> None:
        """
        One thing is wrong, and these words tell which.
        """
        self.assertEqual(len(said), 1, said)
        for word in words:
            self.assertIn(word, said[0])

    def test_well(self) -> None:
        """
        Nothing, if all is well.
        """
        hooks = "9.00 begins wake\n9.50 ended wake\n12.00 begins sleep\n"
        self.assertEqual(self.judged([record()], hooks=hooks), [])

    def test_ends(self) -> None:
        """
        Whatever does not end well is wrong, unless something that was done to
        its model or to llmux explains it.
        """
        fault = Torment("kill", "ash", 9.0, 9.5)
        for end, code, explained in (
            ("broken", "", True),
            ("error", "backend_error", True),
            ("error", "wake_failed", True),
            ("error", "internal_error", False),
            ("dropped", "", False),
            ("wrong", "", False),
            ("stuck", "", False),
        ):
            bad = record(end=end, code=code)
            self.assertSaid(self.judged([bad]), end)
            said = self.judged([bad], fault)
            self.assertEqual(not said, explained, (end, code))
            other = Torment("kill", "birch", 9.0, 9.5)
            self.assertSaid(self.judged([bad], other), end)
            late = Torment("kill", "ash", 11.5, 12.0)
            self.assertSaid(self.judged([bad], late), end)

    def test_restart(self) -> None:
        """
        A restart explains that llmux was not there.
        """
        gone = record(end="unreachable")
        self.assertSaid(self.judged([gone]), "unreachable")
        self.assertEqual(self.judged([gone], Torment("restart", "", 9, 10)), [])

    def test_descriptors(self) -> None:
        """
        That there were no descriptors explains that there were none, and for a
        moment only, not that somebody was not answered.
        """
        torment = Torment("descriptors", "", 9, 9.5)
        full = record(end="error", code="overloaded")
        self.assertSaid(self.judged([full]), "overloaded")
        self.assertEqual(self.judged([full], torment), [])
        for end, code in (
            ("unreachable", ""),
            ("dropped", ""),
            ("error", "internal_error"),
            ("error", "wake_failed"),
        ):
            self.assertSaid(self.judged([record(end=end, code=code)], torment), end)
        late = record(end="dropped", reused=True)
        self.assertSaid(self.judged([late]), "dropped")
        self.assertEqual(self.judged([late], torment), [])
        early = Torment("descriptors", "", 5, 6)
        self.assertSaid(self.judged([full], early), "overloaded")

    def test_reload(self) -> None:
        """
        Another configuration explains nothing.
        """
        gone = record(end="broken")
        self.assertSaid(self.judged([gone], Torment("reload", "", 9, 12)), "broken")

    def test_faulty(self) -> None:
        """
        A client that asked for a broken answer may get one.
        """
        bad = record(end="error", code="backend_error", faulty=True)
        self.assertEqual(self.judged([bad]), [])

    def test_twice(self) -> None:
        """
        A request that is answered twice.
        """
        again = [asked(number=2), {**ENDED, "number": 2}]
        said = self.judged([record()], ash=[STARTED, asked(), ENDED, *again])
        self.assertSaid(said, "more than once")

    def test_retried(self) -> None:
        """
        A server that died before it answered may be asked once more.
        """
        lines = [STARTED, asked(), STARTED, asked(), ENDED]
        self.assertEqual(self.judged([record()], ash=lines), [])

    def test_nobody(self) -> None:
        """
        An answer that no server gave.
        """
        self.assertSaid(self.judged([record()], ash=[STARTED]), "by nobody")

    def test_otherBody(self) -> None:
        """
        A body that was changed on its way.
        """
        lines = [STARTED, asked(sha256="other"), ENDED]
        self.assertSaid(self.judged([record()], ash=lines), "another body")

    def test_otherModel(self) -> None:
        """
        A request that came to the wrong server.
        """
        said = self.judged([record(model="birch")])
        self.assertSaid(said, "for birch, and came to ash")

    def test_stranger(self) -> None:
        """
        A request that nobody has made.
        """
        self.assertSaid(self.judged([]), "nobody had asked it")

    def test_open(self) -> None:
        """
        A client that left, and an answer that goes on.
        """
        said = self.judged([record(end="left")], ash=[STARTED, asked()])
        self.assertSaid(said, "still being answered")

    def test_asleep(self) -> None:
        """
        A request that comes to a model that is asleep, by its hooks' books or
        by its server's own.
        """
        hooks = "9.00 begins sleep\n12.00 ended wake\n"
        self.assertSaid(self.judged([record()], hooks=hooks), "while that was asleep")
        lines = [STARTED, asked(state="asleep"), ENDED]
        self.assertSaid(self.judged([record()], ash=lines), "while that was asleep")
        # What was given up meanwhile may have been sent in time.
        self.assertEqual(self.judged([record(end="left")], hooks=hooks), [])

    def test_slept(self) -> None:
        """
        A model that is put to sleep while it speaks, and a client that was
        not told.
        """
        lines = [STARTED, asked(), {**ENDED, "end": "slept"}]
        self.assertSaid(self.judged([record()], ash=lines), "was put to sleep")

    def test_crowded(self) -> None:
        """
        Two models in one place.
        """
        crowd = {"what": "crowded", "place": "left", "time": 1}
        said = self.judged([record()], ash=[STARTED, crowd, asked(), ENDED])
        self.assertSaid(said, "left was taken")

    def test_together(self) -> None:
        """
        Two hooks of a model at a time.
        """
        said = self.judged([record()], hooks="9.00 together wake\n")
        self.assertSaid(said, "two hooks at a time")
