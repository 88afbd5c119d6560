"""
Tests for L{llmux.hooks._output}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from llmux.hooks import HookOutput, OutputLine, OutputRing
from llmux.hooks._output import BURST, HELD_SIZE, LINE_SIZE, LINES_PER_SECOND


def line(text: str) -> OutputLine:
    """
    A line as a wake hook could have printed it.
    """
    return OutputLine(1.0, "wake", "stdout", text)


@implementer(ILogObserver)
class Lines(list[LogEvent]):
    """
    A log that is kept.
    """

    def __call__(self, event: LogEvent) -> None:
        """
        Keep an event.
        """
        self.append(event)


class OutputRingTests(SynchronousTestCase):
    """
    L{OutputRing}
    """

    def test_lines(self) -> None:
        """
        Lines are kept in the order in which they came.
        """
        ring = OutputRing("a")
        ring.append(line("one"))
        ring.append(line("two"))
        self.assertEqual(ring.lines(), [line("one"), line("two")])

    def test_boundedLines(self) -> None:
        """
        Of more lines than the ring holds the last ones are kept.
        """
        ring = OutputRing("a", maxLines=2)
        for text in "abc":
            ring.append(line(text))
        self.assertEqual([kept.text for kept in ring.lines()], ["b", "c"])

    def test_boundedCharacters(self) -> None:
        """
        Long lines take the place of more than one old line.
        """
        ring = OutputRing("a", maxCharacters=10)
        for text in ("aaaa", "bbbb", "cccccccc"):
            ring.append(line(text))
        self.assertEqual([kept.text for kept in ring.lines()], ["cccccccc"])
        ring.append(line("dd"))
        self.assertEqual([kept.text for kept in ring.lines()], ["cccccccc", "dd"])

    def test_subscribe(self) -> None:
        """
        Who follows a ring is told of each line from then on, until it no
        longer wants to be.
        """
        ring = OutputRing("a")
        ring.append(line("before"))
        seen: list[OutputLine] = []
        unsubscribe = ring.subscribe(seen.append)
        ring.append(line("now"))
        unsubscribe()
        unsubscribe()
        ring.append(line("after"))
        self.assertEqual(seen, [line("now")])

    def test_subscriberRaises(self) -> None:
        """
        A follower that raises is logged, and harms no other.
        """
        ring = OutputRing("a")
        seen: list[OutputLine] = []

        def broken(line: OutputLine) -> None:
            raise ZeroDivisionError

        ring.subscribe(broken)
        ring.subscribe(seen.append)
        ring.append(line("x"))
        self.assertEqual(seen, [line("x")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_unsubscribeWhileTold(self) -> None:
        """
        A follower may leave while it is told of a line, without another
        missing that line.
        """
        ring = OutputRing("a")
        seen: list[OutputLine] = []
        unsubscribe = ring.subscribe(lambda line: unsubscribe())
        ring.subscribe(seen.append)
        ring.append(line("x"))
        self.assertEqual(seen, [line("x")])


class HookOutputTests(SynchronousTestCase):
    """
    L{HookOutput} and its streams
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.output = HookOutput(self.clock)
        self.stream = self.output.stream("a", "wake", "stdout")

    def texts(self) -> list[str]:
        """
        The lines in the ring of model C{a}.
        """
        return [kept.text for kept in self.output.ring("a").lines()]

    def test_lines(self) -> None:
        """
        What is read in pieces becomes lines, each with its time, its hook
        and its stream.
        """
        self.clock.advance(5)
        self.stream.dataReceived(b"load")
        self.stream.dataReceived(b"ing\ndone\nha")
        self.assertEqual(
            self.output.ring("a").lines(),
            [
                OutputLine(5.0, "wake", "stdout", "loading"),
                OutputLine(5.0, "wake", "stdout", "done"),
            ],
        )

    def test_flush(self) -> None:
        """
        The last line needs no end.
        """
        self.stream.dataReceived(b"half")
        self.stream.flush()
        self.stream.flush()
        self.assertEqual(self.texts(), ["half"])

    def test_carriageReturn(self) -> None:
        """
        The states of a progress bar are lines, and a line that ends in CR LF
        ends once, also if it is read in two pieces.
        """
        self.stream.dataReceived(b"10%\r20%\rdone\r\nnext\r")
        self.stream.dataReceived(b"\nlast\n")
        self.assertEqual(self.texts(), ["10%", "20%", "done", "next", "last"])

    def test_notText(self) -> None:
        """
        Bytes that are no UTF-8 are replaced, and characters that would move
        the cursor of a terminal are escaped; a tab is left.
        """
        self.stream.dataReceived(b"\xff\x1b[2J\x00\t\xc2\x9b\xc3\xa9\xe2\x80\xa8\n")
        self.assertEqual(
            self.texts(), ["\N{REPLACEMENT CHARACTER}\\x1b[2J\\x00\t\\x9bé\\u2028"]
        )

    def test_splitCharacter(self) -> None:
        """
        A character that is read in two pieces is one character.
        """
        self.stream.dataReceived(b"\xc3")
        self.stream.dataReceived(b"\xa9\n")
        self.assertEqual(self.texts(), ["é"])

    def test_longLine(self) -> None:
        """
        A line without end takes no more memory than is kept of it.
        """
        for _ in range(100):
            self.stream.dataReceived(b"x" * 8192)
            self.assertLessEqual(len(self.stream._rest), LINE_SIZE + 1)
        self.stream.dataReceived(b"\nnext\n")
        self.assertEqual(self.texts(), ["x" * LINE_SIZE + " [cut]", "next"])

    def test_longestLine(self) -> None:
        """
        A line that is just as long as may be is not cut.
        """
        self.stream.dataReceived(b"x" * LINE_SIZE + b"\n")
        self.assertEqual(self.texts(), ["x" * LINE_SIZE])

    def test_logged(self) -> None:
        """
        Each line is an event in the log, with fields.
        """
        events = Lines()
        self.output.log = Logger(observer=events)
        self.stream.dataReceived(b"{braces}\n")
        [event] = events
        self.assertEqual(
            {key: event[key] for key in ("event", "model", "hook", "stream", "line")},
            {
                "event": "hook_output",
                "model": "a",
                "hook": "wake",
                "stream": "stdout",
                "line": "{braces}",
            },
        )

    def test_flood(self) -> None:
        """
        Of a flood of lines the first and, a second later, the last are
        taken note of, with a remark in between about the others.
        """
        for number in range(10_000):
            self.stream.dataReceived(b"%d\n" % number)
        self.assertEqual(self.texts(), [str(number) for number in range(BURST)])
        self.clock.advance(1)
        texts = self.texts()
        self.assertRegex(texts[BURST], r"^\[\d+ bytes of stdout left out\]$")
        self.assertEqual(
            texts[BURST + 1 :],
            [str(number) for number in range(10_000 - LINES_PER_SECOND, 10_000)],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_floodCounted(self) -> None:
        """
        The bytes left out are all that are not in the lines.
        """
        flood = b"".join(b"%d\n" % number for number in range(10_000))
        self.stream.dataReceived(flood)
        self.clock.advance(1)
        texts = self.texts()
        kept = sum(len(text) + 1 for text in texts if "left out" not in text)
        self.assertIn(f"[{len(flood) - kept} bytes of stdout left out]", texts)

    def test_floodMemory(self) -> None:
        """
        A flood is not kept while it is held back.
        """
        for _ in range(1000):
            self.stream.dataReceived(b"y\n" * 4096)
        self.assertLessEqual(len(self.stream._held), HELD_SIZE)

    def test_floodEnds(self) -> None:
        """
        When the stream ends in a flood, its last lines are there at once.
        """
        self.stream.dataReceived(b"y\n" * 10_000 + b"out of memory\nbye")
        self.stream.flush()
        self.assertEqual(self.texts()[-2:], ["out of memory", "bye"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_overWithoutLoss(self) -> None:
        """
        If what is over the allowance is short, it is late but whole.
        """
        self.stream.dataReceived(b"y\n" * BURST + b"one\ntwo\nthr")
        self.clock.advance(1)
        self.stream.dataReceived(b"ee\n")
        self.assertEqual(self.texts()[BURST:], ["one", "two", "three"])

    def test_calmAgain(self) -> None:
        """
        After a flood, lines are taken note of as they come.
        """
        self.stream.dataReceived(b"y\n" * 10_000)
        self.clock.advance(1)
        self.clock.advance(10)
        self.stream.dataReceived(b"calm\n")
        self.assertEqual(self.texts()[-1], "calm")

    def test_shared(self) -> None:
        """
        The allowance is a model's: one that floods on stderr has none for
        stdout, and another model has its own.
        """
        self.output.stream("a", "wake", "stderr").dataReceived(b"y\n" * 10_000)
        self.stream.dataReceived(b"late\n")
        self.assertNotIn("late", self.texts())
        self.output.stream("b", "wake", "stdout").dataReceived(b"hello\n")
        self.assertEqual(
            [line.text for line in self.output.ring("b").lines()], ["hello"]
        )
        self.stream.flush()
        self.assertIn("late", self.texts())

    def test_clockSetBack(self) -> None:
        """
        A wall clock that is set back takes nothing off the allowance.
        """
        self.stream.dataReceived(b"one\n")
        self.clock.rightNow = -1000.0
        self.stream.dataReceived(b"two\n")
        self.assertEqual(self.texts(), ["one", "two"])
