"""
Tests for L{llmux.config._build}: what may stand under single keys.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llmux.config import Limits, Timeouts
from llmux.config._keys import entries
from llmux.config._values import Config
from llmux.test._config import HOOKS, lines, read


class RightTests(SynchronousTestCase):
    """
    Tests for what is read.
    """

    def test_everything(self) -> None:
        """
        Each key gets to its field.
        """
        config = read(
            """
            models:
              "my model/x":
                url: http://gpu2:8001
                wake: |
                  # It takes a while.
                  start
                sleep: stop
                alive: "true"
                aliases: [gpt-4o-mini, "7"]
                backend_model: org/name
                needs: {gpu0: 20}
                ttl_secs: 900
                preload: true
                pin: true
                priority: -1.5
                max_in_flight: 64
                max_queue: 0
                timeouts: {wake: 1, sleep: 2, alive: 3, connect: 4, first_byte: 5, idle: 6}
            resources: {gpu0: 24, gpu1: 24}
            policy:
              name: some
              request_timeout_secs: 300
              drain_before_switch: false
              min_active_secs: 5
              max_wait_secs: 30
              drain_timeout_secs: 0
            port: 4000
            host: 0.0.0.0
            listen: ["tcp:1"]
            limits: {body_mb: 1, head_kb: 2, head_secs: 3, stall_secs: 4}
            on_exit: sleep
            """
        )
        model = config.models["my model/x"]
        self.assertEqual(model.name, "my model/x")
        self.assertEqual(model.url, "http://gpu2:8001")
        self.assertIsNone(model.port)
        self.assertEqual(model.wake, "# It takes a while.\nstart\n")
        self.assertEqual((model.sleep, model.alive), ("stop", "true"))
        self.assertEqual(model.names, ("my model/x", "gpt-4o-mini", "7"))
        self.assertEqual(model.backend_model, "org/name")
        self.assertEqual(model.needs, {"gpu0": 20.0})
        self.assertEqual(model.ttl_secs, 900)
        self.assertIs(model.preload, True)
        self.assertIs(model.pin, True)
        self.assertEqual(model.priority, -1.5)
        self.assertEqual((model.max_in_flight, model.max_queue), (64, 0))
        self.assertEqual(model.timeouts, Timeouts(1, 2, 3, 4, 5, 6))
        self.assertEqual(config.totals, {"gpu0": 24, "gpu1": 24})
        policy = config.policy
        self.assertEqual((policy.name, policy.request_timeout_secs), ("some", 300))
        self.assertIs(policy.drain_before_switch, False)
        self.assertEqual((policy.min_active_secs, policy.max_wait_secs), (5, 30))
        self.assertEqual(policy.drain_timeout_secs, 0)
        self.assertEqual((config.port, config.host), (4000, "0.0.0.0"))
        self.assertEqual(config.listen, ("tcp:1",))
        self.assertEqual(config.limits, Limits(1, 2, 3, 4))
        self.assertEqual(config.on_exit, "sleep")
        self.assertEqual(config.folder, "/somewhere")

    def test_nulls(self) -> None:
        """
        A section, a list or a mapping without content is as if it were not
        there; null is nothing where nothing may be.
        """
        config = read(
            f"""
            models:
              a: {{{HOOKS}, aliases: , needs: , timeouts: , port: null, idle: }}
            policy:
            resources:
            listen:
            """.replace(", idle: ", "")
        )
        self.assertEqual(config, read(f"models: {{a: {{{HOOKS}}}}}"))

    def test_order(self) -> None:
        """
        Models are in the order of the file.
        """
        config = read(f"models: {{z: {{{HOOKS}}}, a: {{{HOOKS}}}, m: {{{HOOKS}}}}}")
        self.assertEqual(list(config.models), ["z", "a", "m"])


class WrongTests(SynchronousTestCase):
    """
    Tests for what is refused.
    """

    def one(self, where: str, value: str) -> str:
        """
        What is wrong if a value stands under a key of a model, of a section,
        or at the top.
        """
        section, _, name = where.rpartition(".")
        model = f"{HOOKS}, {name}: {value}" if section == "a" else HOOKS
        text = f"models: {{a: {{{model}}}}}\n"
        if section != "a":
            text += f"{section}: {{{name}: {value}}}" if section else f"{name}: {value}"
        found = lines(text)
        self.assertEqual(len(found), 1, (where, value, found))
        path = f"models.{where}" if section == "a" else where
        line = 1 if section == "a" else 2
        self.assertTrue(found[0].startswith(f"c.yaml:{line}: {path}"), found)
        return found[0].partition(path)[2].removeprefix(": ")

    def test_types(self) -> None:
        """
        A value of the wrong kind is refused: no number is text, no text a
        number, and no truth value a number.
        """
        for where, value, wrong in [
            ("a.port", '"8001"', "must be a whole number, not text; leave the quotes out"),
            ("a.port", "true", "must be a whole number, not true"),
            ("a.port", "80.5", "must be a whole number, not a number"),
            ("a.port", "[1]", "must be a whole number, not a list"),
            ("a.port", '"${env:PORT}"', "must be a whole number, not text, which ${env:...} always is"),
            ("a.priority", "high", "must be a number, not text"),
            ("a.priority", "false", "must be a number, not false"),
            ("a.backend_model", "3.5", "must be text, not a number; put it in quotes"),
            ("a.backend_model", "true", "must be text, not true; put it in quotes"),
            ("a.backend_model", "{a: b}", "must be text, not keys with values"),
            ("a.preload", "yes", "must be true or false, not text"),
            ("a.preload", "1", "must be true or false, not a number"),
            ("a.preload", "", "must be true or false, not null"),
            ("a.aliases", "x", "must be a list such as [gpt-4o-mini], not text"),
            ("a.aliases", "[1]", "[0]: must be text, not a number; put it in quotes"),
            ("a.aliases", '[x, "a\\nb"]', "[1]: a name must not have control"),
            ("a.timeouts", "3", "must be keys with values, not a number"),
            ("a.timeouts", "{wake: x}", ".wake: must be a number, not text"),
            ("a.needs", "[gpu]", "must be keys with values, not a list"),
            ("resources", "{a: x}", ".a: must be a number, not text"),
            ("resources", '{"": 1}', '."": a name must not be empty'),
            ("listen", "tcp:80", "must be a list such as [tcp:3000:interface"),
            ("listen", "['80']", "[0]: must be a Twisted server endpoint string"),
            ("port", "null", "must be a whole number, not null"),
            ("host", "a b", "must be an address"),
            ("policy", "fifo", "must be keys with values, not text"),
            ("policy.name", "''", "must not be empty"),
            ("on_exit", "stop", 'must be one of leave, sleep, not "stop"'),
            ("a.url", "ftp://x", "must begin with http://"),
        ]:  # fmt: skip
            self.assertTrue(self.one(where, value).startswith(wrong), (where, value))

    def test_numbers(self) -> None:
        """
        A number outside of its range is refused.
        """
        for where, value, wrong in [
            ("a.port", "0", "must be from 1 to 65535, not 0"),
            ("a.port", "70000", "must be from 1 to 65535, not 70000"),
            ("port", "-1", "must be from 1 to 65535, not -1"),
            ("a.ttl_secs", "0", "must be more than 0, not 0"),
            ("a.ttl_secs", "1e99", "must be at most 1000000000, not 1e+99"),
            ("a.max_in_flight", "0", "must be 1 or more, not 0"),
            ("a.max_queue", "-1", "must be 0 or more, not -1"),
            ("a.priority", ".nan", "must be a finite number"),
            ("a.priority", "-.inf", "must be a finite number"),
            ("a.priority", "9" * 400, "is too large a number"),
            ("resources", "{gpu: -1}", ".gpu: must be 0 or more, not -1"),
            ("policy.min_active_secs", "-1", "must be from 0 to 1000000000, not -1"),
            ("limits.body_mb", "0", "must be more than 0, not 0"),
        ]:
            self.assertEqual(self.one(where, value), wrong, (where, value))

    def test_hooks(self) -> None:
        """
        A model without its hooks, or with an empty one, is refused, on the
        line of the model or of the hook.
        """
        self.assertEqual(
            lines("models:\n  a:\n  b:\n    wake: ' '\n    sleep: s\n    alive: true"),
            [
                (
                    "c.yaml:2: models.a.wake: is missing; add it, such as "
                    "wake: ./wake-llama.sh"
                ),
                (
                    "c.yaml:2: models.a.sleep: is missing; add it, such as "
                    "sleep: ./sleep-llama.sh"
                ),
                (
                    "c.yaml:2: models.a.alive: is missing; add it, such as "
                    "alive: curl -sf http://localhost:8001/health"
                ),
                "c.yaml:4: models.b.wake: must not be empty",
                "c.yaml:6: models.b.alive: must be text, not true; put it in quotes",
            ],
        )

    def test_names(self) -> None:
        """
        Names that cannot be are refused, shortly.
        """
        for name, wrong in [
            ("x" * 10_000, "this name has 10,000 characters; a name has 256 at most"),
            ("a\\nb", "a name must not have control characters"),
            ("", "a name must not be empty"),
        ]:
            (line,) = lines(f'models: {{? "{name}" : {{{HOOKS}}}}}')
            self.assertIn(wrong, line)
            self.assertLess(len(line), 250)

    def test_oddNames(self) -> None:
        """
        Names with spaces, slashes and quotes are good, and are in quotes in
        key paths.
        """
        (line,) = lines(f"""models: {{'a "b"/c d': {{{HOOKS}, port: x}}}}""")
        self.assertIn('models."a \\"b\\"/c d".port: must be', line)

    def test_unknown(self) -> None:
        """
        An unknown key is refused, and what may have been meant is said: a key
        that is spelled nearly so, the section where there is one, or what
        there is.
        """
        self.assertEqual(self.one("a.prot", "80"), 'unknown key, did you mean "port"?')
        self.assertEqual(
            self.one("request_timeout_secs", "80"),
            'unknown key, it belongs in "policy"',
        )
        self.assertEqual(
            self.one("limits.xyz", "80"),
            "unknown key; there are: body_mb, head_kb, head_secs, stall_secs",
        )

    def test_manyUnknown(self) -> None:
        """
        After many problems none is pondered any more, but all are told.
        """
        text = "".join(f"prot{n}: 1\n" for n in range(200))
        found = lines(f"models: {{a: {{{HOOKS}}}}}\n{text}")
        self.assertEqual(len(found), 200)
        self.assertIn("did you mean", found[0])
        self.assertTrue(found[-1].endswith("prot199: unknown key"))

    def test_missingModels(self) -> None:
        """
        A file that does not say which models there are is refused.
        """
        self.assertEqual(lines("port: 80"), ["c.yaml:1: models: is missing; add it"])
        self.assertEqual(
            lines("\nmodels: [a]".replace("\n", "# x\n")),
            ["c.yaml:2: models: must be keys with values, not a list"],
        )

    def test_allAtOnce(self) -> None:
        """
        All that is wrong is told, in the order of the file.
        """
        found = lines(
            """
            port: 0
            models:
              a:
                prot: 1
                wake: w
                wake: x
                sleep: s
                alive: ${env:NOPE}
            on_exit: never
            """
        )
        self.assertEqual(
            [line.split(": ")[:2] for line in found],
            [
                ["c.yaml:1", "port"],
                ["c.yaml:4", "models.a.prot"],
                ["c.yaml:6", "models.a.wake"],
                ["c.yaml:8", "models.a.alive"],
                ["c.yaml:9", "on_exit"],
            ],
        )


class EnvironmentTests(SynchronousTestCase):
    """
    Tests for what stands in the environment.
    """

    def test_replaced(self) -> None:
        """
        References are replaced in any text, in the middle of it and more than
        once, but not in what they are replaced by.
        """
        config = read(
            f"""
            models:
              a:
                {HOOKS.replace(", ", chr(10) + " " * 16)}
                url: http://${{env:HOST}}:${{env:PORT}}/
                aliases: ["${{env:ODD}}"]
            """,
            environment={"HOST": "gpu2", "PORT": "80", "ODD": "${env:HOST}"},
        )
        self.assertEqual(config.models["a"].url, "http://gpu2:80/")
        self.assertEqual(config.models["a"].names, ("a", "${env:HOST}"))

    def test_bad(self) -> None:
        """
        A reference to what is not set, is no name, is not closed or is not
        text is refused.
        """
        for text, wrong in [
            ("${env:NOPE}", "the environment variable NOPE is not set"),
            ("${env:A B}", "${env:A B} does not name an environment variable"),
            ("${env:}", "${env:} does not name an environment variable"),
            ("${env:X", "${env: is without its closing }"),
            ("${env:${env:X}}", "${env: is without its closing }"),
            ("${env:BYTES}", "the environment variable BYTES is not UTF-8"),
        ]:
            found = lines(
                f'models: {{a: {{{HOOKS}, backend_model: "{text}"}}}}',
                environment={"X": "x", "BYTES": "\udcff"},
            )
            self.assertEqual(len(found), 1)
            self.assertIn(f"models.a.backend_model: {wrong}", found[0])

    def test_secret(self) -> None:
        """
        Whatever a value from the environment makes wrong, it is not told.
        """

        def find(name: str) -> object:
            raise LookupError(f"no policy {name}")

        found = lines(
            f"""
            models:
              a:
                {HOOKS.replace(", ", chr(10) + " " * 16)}
                url: ${{env:SECRET}}
                aliases: ["${{env:SECRET}}", "${{env:SECRET}}"]
            policy: {{name: "${{env:SECRET}}"}}
            on_exit: ${{env:SECRET}}
            host: ${{env:SECRET}} x
            listen: ["${{env:SECRET}}"]
            """,
            environment={"SECRET": "hunter2"},
            findPolicy=find,
        )
        self.assertEqual(len(found), 6)
        self.assertNotIn("hunter2", "".join(found))

    def test_notInNames(self) -> None:
        """
        Keys are not replaced.
        """
        config = read(f'models: {{"${{env:X}}": {{{HOOKS}}}}}', environment={"X": "x"})
        self.assertEqual(list(config.models), ["${env:X}"])


class GenericTests(SynchronousTestCase):
    """
    Tests for what holds for each key.
    """

    def test_wrongKinds(self) -> None:
        """
        Whatever stands under whatever key, there is an answer that names the
        key, or it is taken.
        """
        for name in entries(Config):
            for value in ["x", "1", "-1", "true", "[]", "[[]]", "{}", "{a: {}}", "~"]:
                text = f"{name}: {value}"
                if name != "models":
                    text += f"\nmodels: {{a: {{{HOOKS}}}}}"
                for line in lines(text):
                    self.assertTrue(line.startswith(f"c.yaml:1: {name}"), line)
