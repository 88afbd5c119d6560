"""
Tests for C{examples/kubernetes}.  C{kubectl} and C{curl} are stand-ins; no
cluster is there.
"""

from __future__ import annotations

import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from llmux.config import load
from llmux.test._examples import ExampleTestCase
from llmux.test._processes import EXAMPLES, eventually, needsExamples

#: Its pods are the lines of C{pods}, which becomes what stands in C{after} when
#: they are waited for.  A rollout goes on until there is a file C{done}.
KUBECTL = """#!/bin/sh
echo "$*" >>calls
[ ! -e down ] || { echo "The connection to the server was refused" >&2; exit 1; }
case "$*" in
    scale*) ;;
    rollout*)
        until [ -e done ]; do sleep 0.02; done
        exit "$(cat done)"
        ;;
    "get pods"*--output=name) cat pods ;;
    "get pods"*) echo "llama-5d: Pending 0/3 nodes are available: no gpu" ;;
    "get deployment"*) cat ready ;;
    logs*) echo "out of memory, it said" ;;
    wait*) cat after >pods; : >after ;;
    *) echo "unknown: $*" >&2; exit 1 ;;
esac
"""
CURL = """#!/bin/sh
for url; do :; done
echo "$url" >>asked
[ -e healthy ]
"""


class KubernetesTests(ExampleTestCase):
    """
    Tests for the hooks.
    """

    example = "kubernetes"
    skip = needsExamples()

    def setUp(self) -> None:
        """
        Put the stand-ins into PATH.
        """
        super().setUp()
        self.program("kubectl", KUBECTL)
        self.program("curl", CURL)
        for name in ("pods", "after", "ready", "calls", "asked"):
            self.put(name, "")

    def put(self, name: str, text: str) -> None:
        """
        Put something down for the stand-ins.
        """
        (self.place / name).write_text(f"{text}\n" if text else "")

    def read(self, name: str) -> list[str]:
        """
        What a stand-in has written.
        """
        return (self.place / name).read_text().splitlines()

    def test_wake(self) -> None:
        """
        C{wake} scales up, and waits for the rollout and then for the Service.
        """
        self.put("done", "0")
        wake = self.processes.start(
            *("/bin/sh", "-c", self.config()["models"]["llama"]["wake"]),
            folder=self.place,
            environment=self.hookVariables("wake", "llama"),
        )
        eventually(lambda: self.read("asked"), "the Service is asked")
        self.assertTrue(wake.isRunning())
        self.put("healthy", "yes")
        self.assertEqual(wake.wait(), 0)
        scaled, rolled = self.read("calls")
        self.assertEqual(scaled, "scale deployment/llama --replicas=1")
        self.assertTrue(rolled.startswith("rollout status deployment/llama"))
        self.assertEqual(set(self.read("asked")), {"http://llama:8080/health"})

    def test_fails(self) -> None:
        """
        A rollout that fails fails the wake, which says what the scheduler and
        the pod have to say.
        """
        self.put("done", "1")
        status, said = self.hook("wake", "llama")
        self.assertEqual(status, 1)
        self.assertIn("no gpu", said)
        self.assertIn("out of memory, it said", said)

    def test_timeout(self) -> None:
        """
        So does one that is still under way when the time for it is over.
        """
        wake = self.processes.start(
            *(self.place / "wake.sh", "llama"),
            folder=self.place,
            environment=self.hookVariables("wake", "llama"),
        )
        eventually(lambda: len(self.read("calls")) == 2, "it waits")
        wake.signal(signal.SIGTERM)
        self.assertEqual(wake.wait(), 1)
        self.assertIn("no gpu", wake.output())

    def test_sleep(self) -> None:
        """
        C{sleep} scales down and waits until there is no pod, not even one that
        was made meanwhile.
        """
        self.put("pods", "pod/llama-1\npod/llama-2")
        self.put("after", "pod/llama-3")
        self.assertHook("sleep", "llama")
        calls = self.read("calls")
        self.assertEqual(calls[0], "scale deployment/llama --replicas=0")
        waits = [call.split()[2:-1] for call in calls if call.startswith("wait")]
        self.assertEqual(waits, [["pod/llama-1", "pod/llama-2"], ["pod/llama-3"]])
        self.assertHook("sleep", "llama")

    def test_serverAway(self) -> None:
        """
        While Kubernetes does not answer nothing is asleep and nothing alive.
        """
        self.put("down", "")
        self.put("healthy", "yes")
        for hook in ("sleep", "wake", "alive"):
            self.assertNotEqual(self.hook(hook, "llama")[0], 0, hook)
        # It may go away in the middle, too.
        (self.place / "down").unlink()
        self.put("pods", "pod/llama-1")
        self.program("kubectl", KUBECTL.replace("cat after >pods", ": >down"))
        self.assertNotEqual(self.hook("sleep", "llama")[0], 0)

    def test_alive(self) -> None:
        """
        C{alive} wants both a pod that is ready and a Service that answers.
        """
        self.put("healthy", "yes")
        self.assertAsleep("llama")
        self.put("ready", "1")
        self.assertHook("alive", "llama")
        (self.place / "healthy").unlink()
        self.assertAsleep("llama")


class ManifestTests(SynchronousTestCase):
    """
    Tests for what can be said of the manifests without a cluster.
    """

    skip = needsExamples()

    def setUp(self) -> None:
        """
        Read them.
        """
        self.folder = Path(EXAMPLES, "kubernetes")
        text = (self.folder / "manifests.yaml").read_text("utf-8")
        self.resources: list[dict[str, Any]] = list(yaml.safe_load_all(text))
        self.config = load(str(self.folder / "config.yaml"), {})

    def named(self, kind: str) -> dict[str, dict[str, Any]]:
        """
        The resources of a kind, by name.
        """
        return {
            resource["metadata"]["name"]: resource
            for resource in self.resources
            if resource["kind"] == kind
        }

    def test_valid(self) -> None:
        """
        They are what the API takes, of Kubernetes that is old and of the newest
        that is known, and have no field that it does not know.
        """
        from kubernetes_validate import latest_version, validate

        for resource in self.resources:
            for version in ("1.29.0", latest_version()):
                validate(resource, version, strict=True)

    if find_spec("kubernetes_validate") is None:
        test_valid.skip = (  # type: ignore[attr-defined]
            "PyPI's kubernetes-validate is not installed (it is in llmux[real])"
        )

    def test_agree(self) -> None:
        """
        Each model's hooks name a Deployment, which sleeps at first, asks for
        the GPU that the model needs, and is behind the Service at the model's
        address.
        """
        services, deployments = self.named("Service"), self.named("Deployment")
        self.assertEqual(set(deployments), {"llmux", *self.config.models})
        for name, model in self.config.models.items():
            for hook in ("wake", "sleep", "alive"):
                self.assertEqual(getattr(model, hook), f"./{hook}.sh {name}")
            spec = deployments[name]["spec"]
            self.assertEqual(spec["replicas"], 0)
            labels = spec["template"]["metadata"]["labels"]
            self.assertEqual(labels["app"], name)
            self.assertEqual(spec["selector"]["matchLabels"], {"app": name})
            (container,) = spec["template"]["spec"]["containers"]
            gpus = container["resources"]["limits"]["nvidia.com/gpu"]
            self.assertEqual(model.needs, {"gpu": gpus})
            service = services[name]["spec"]
            self.assertEqual(service["selector"], {"app": name})
            port = service["ports"][0]["port"]
            self.assertEqual(model.address, f"http://{name}:{port}")
            self.assertLess(spec["progressDeadlineSeconds"], model.timeouts.wake)

    def test_llmux(self) -> None:
        """
        There is never more than one llmux, its streams have time to end, and
        its Service and its probes ask for the port that it listens on.
        """
        spec = self.named("Deployment")["llmux"]["spec"]
        self.assertEqual((spec["replicas"], spec["strategy"]["type"]), (1, "Recreate"))
        pod = spec["template"]["spec"]
        drain = self.config.policy.drain_timeout_secs
        assert drain is not None
        self.assertGreater(pod["terminationGracePeriodSeconds"], drain)
        (container,) = pod["containers"]
        (port,) = container["ports"]
        self.assertEqual(port["containerPort"], self.config.port)
        named = {
            container["readinessProbe"]["httpGet"]["port"],
            container["livenessProbe"]["httpGet"]["port"],
            self.named("Service")["llmux"]["spec"]["ports"][0]["targetPort"],
        }
        self.assertEqual(named, {port["name"]})

    def test_rights(self) -> None:
        """
        llmux may do with the models' Deployments what the hooks do, with others
        nothing, and with pods no more than to look.
        """
        models = set(self.config.models)
        for rule in self.named("Role")["llmux"]["rules"]:
            if rule["apiGroups"] == ["apps"]:
                self.assertEqual(set(rule["resourceNames"]), models)
            allowed = {"get", "list", "watch"}
            if rule["resources"] == ["deployments/scale"]:
                allowed = {"get", "update", "patch"}
            self.assertLessEqual(set(rule["verbs"]), allowed)

    def test_configMap(self) -> None:
        """
        What the configuration names is in the ConfigMap, and in the folder.
        """
        text = (self.folder / "kustomization.yaml").read_text("utf-8")
        (generated,) = yaml.safe_load(text)["configMapGenerator"]
        files = {"config.yaml", "wake.sh", "sleep.sh", "alive.sh"}
        self.assertEqual(set(generated["files"]), files)
        for name in files:
            self.assertTrue((self.folder / name).exists())
        pod = self.named("Deployment")["llmux"]["spec"]["template"]["spec"]
        volumes = {v["name"]: v for v in pod["volumes"]}
        name = volumes["llmux"]["configMap"]["name"]
        self.assertEqual(name, generated["name"])
