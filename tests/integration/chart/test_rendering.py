"""Whatever values are given, what the chart renders is sound: valid, restricted, without secrets, always the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from adit.model.dicom_web import KEYS_OF_SCHEME
from adit.model.tls import TLS_KEYS
from adit_operator.job_manifest import RELAY_PORT
from adit_operator.worker_settings import WorkerSettings
from adit_receiver.settings import ReceiverSettings
from tests.integration.chart.many_values import VALUES
from tests.peers.helm import CHART, ROOT, Document, Helm, helm

CRDS = ROOT / "crds"
OF_OTHERS = ("CustomResourceDefinition", "ServiceMonitor")
"""Kinds that the built-in schemas do not hold; the API server checks CRDs in tests/cluster/."""


@pytest.fixture(scope="session", params=VALUES)
def rendered(request: pytest.FixtureRequest, helm4: Helm) -> list[Document]:
    return helm4.render(VALUES[request.param])


def pods(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Each pod's spec, with the name of what makes it."""
    for each in documents:
        name = f"{each['kind']}/{each['metadata']['name']}"
        if each["kind"] == "Pod":
            yield name, each["spec"]
        elif "template" in each.get("spec", {}):
            yield name, each["spec"]["template"]["spec"]


def named(documents: list[Document], kind: str) -> dict[str, Document]:
    return {each["metadata"]["name"]: each for each in documents if each["kind"] == kind}


def test_lint_finds_nothing(each_helm: Helm) -> None:
    done = each_helm.run("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_both_helms_render_the_same_each_time(helm4: Helm, values: dict[str, Any]) -> None:
    new, old = (_rendered_twice(each, values) for each in (helm4, helm("helm3")))
    if new != old:
        assert list(yaml.load_all(new, yaml.CSafeLoader)) == list(yaml.load_all(old, yaml.CSafeLoader))


def _rendered_twice(each: Helm, values: dict[str, Any]) -> str:
    first, second = each.text(values), each.text(values)
    assert first == second
    return first


@pytest.mark.usefixtures("schemas_read_once")
def test_every_resource_is_valid(rendered: list[Document]) -> None:
    for each in rendered:
        if each["kind"] not in OF_OTHERS:
            for version in ("1.31", "1.36"):
                validate(json.dumps(each), version)


@pytest.fixture
def schemas_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each resource it would read 1.6 MB of them anew."""
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", SCHEMA)


SCHEMA = cache(kubernetes_validate.utils.schema_contents)


@cache
def validate(document: str, version: str) -> None:
    """Once each: most resources are the same whatever the values are."""
    kubernetes_validate.validate(json.loads(document), version, strict=True)


def test_every_resource_says_whose_it_is(rendered: list[Document]) -> None:
    for each in rendered:
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "adit"
        assert len(each["metadata"]["name"]) <= 63
        if each["kind"] not in ("CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "PriorityClass"):
            assert each["metadata"]["namespace"]


def test_no_two_resources_have_one_name(rendered: list[Document]) -> None:
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in rendered]
    assert len(set(names)) == len(names)


def test_every_pod_is_restricted(rendered: list[Document]) -> None:
    """Pod Security `restricted`, and more: nothing to write to but its volumes, a numeric user, limits."""
    found = dict(pods(rendered))
    assert found
    for name, spec in found.items():
        whole = spec["securityContext"]
        assert whole["runAsNonRoot"] is True, name
        assert whole["runAsUser"] > 0, name
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["enableServiceLinks"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert "privileged" not in own, name
            assert {"memory", "ephemeral-storage"} <= set(container["resources"]["limits"]), name
            assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"]["requests"]), name
            assert not any("hostPort" in port for port in container.get("ports", [])), name
        kinds = {next(key for key in volume if key != "name") for volume in spec["volumes"]}
        assert kinds <= {"emptyDir", "configMap", "secret", "projected", "persistentVolumeClaim"}, name


def test_only_who_speaks_to_the_api_server_has_a_token(helm4: Helm) -> None:
    with_token = {
        name
        for name, spec in pods(helm4.render({"sandbox": {"enabled": True}, "receiver": {"enabled": True}}))
        if spec.get("automountServiceAccountToken", True)
    }
    assert with_token == {
        "Deployment/adit-operator",
        "Deployment/adit-api",
        "Job/adit-database-secret",
        "Job/adit-sandbox-setup",
        "Pod/adit-test",
    }


def test_no_secret_is_rendered(rendered: list[Document]) -> None:
    assert not named(rendered, "Secret")
    for name, spec in pods(rendered):
        for container in spec["containers"]:
            for variable in container.get("env", []):
                if re.search("PASSWORD|DATABASE_URL", variable["name"]):
                    assert variable["name"].endswith("_FILE"), name
                assert "secretKeyRef" not in variable.get("valueFrom", {}), name
        for volume in spec["volumes"]:
            assert "secret" not in volume, (name, "only projected, key by key")


def test_the_workers_url_goes_to_workers_and_migrations_only(rendered: list[Document]) -> None:
    for name, spec in pods(rendered):
        sources = [source for volume in spec["volumes"] for source in volume.get("projected", {}).get("sources", [])]
        held = {item["path"] for source in sources for item in source.get("secret", {}).get("items", [])}
        assert ("ADIT_WORKER_DATABASE_URL" in held) == ("-migrate-" in name)
        assert ("ADIT_RECEIVER_DATABASE_URL" in held) <= any(part in name for part in ("-migrate-", "-receiver"))
        assert ("ADIT_DATABASE_URL" in held) == any(part in name for part in ("-migrate-", "-operator", "-api"))


def test_the_operator_can_read_the_workers_file(rendered: list[Document], tmp_path: Path) -> None:
    [configuration] = [each for name, each in named(rendered, "ConfigMap").items() if name.endswith("-workers")]
    file = tmp_path / "workers.yaml"
    file.write_text(configuration["data"]["workers.yaml"])
    settings = WorkerSettings.read(file)
    assert settings.database.key == "worker-database-url"
    assert [each.name for each in settings.size_classes] == ["small", "medium", "large"]
    for size in settings.size_classes:
        assert {"memory", "ephemeral-storage"} <= set(size.resources["limits"])
        assert {"cpu", "memory", "ephemeral-storage"} <= set(size.resources["requests"])


def test_a_change_for_the_workers_rolls_the_operator_and_nothing_else(helm4: Helm) -> None:
    before: dict[str, Any] = {}
    after = {"worker": {"maxRunning": 7, "podLabels": {"team": "imaging"}}}
    changed = {
        f"{one['kind']}/{one['metadata']['name']}"
        for one, other in zip(helm4.render(before), helm4.render(after), strict=True)
        if one != other
    }
    assert changed == {"ConfigMap/adit-workers", "Deployment/adit-operator"}


def test_the_receiver_lets_open_associations_end(helm4: Helm) -> None:
    """From the last probe to SIGKILL there is time for all of it, in this order."""
    documents = helm4.render({"receiver": {"enabled": True, "drainSeconds": 100}})
    spec = named(documents, "Deployment")["adit-receiver"]["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment["ADIT_RECEIVER_DRAIN_SECONDS"] == "100"
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= pause + 100 + 10
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_each_setting_of_the_receiver_is_one(helm4: Helm) -> None:
    """A variable that the receiver does not know would do nothing, and nobody would notice."""
    known = {f"ADIT_RECEIVER_{name.upper()}" for name in ReceiverSettings.model_fields}
    for values in ("receiver", "everything on"):
        [spec] = [spec for name, spec in pods(helm4.render(VALUES[values])) if name.endswith("-receiver")]
        variables = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
        assert {name for name in variables if name.startswith("ADIT_RECEIVER_")} <= known
        given = {
            name.removeprefix("ADIT_RECEIVER_").lower(): value for name, value in variables.items() if value is not None
        }
        settings = ReceiverSettings.model_validate(given)
        assert "ADIT" in settings.own_titles
    assert settings.own_titles == {"ADIT", "ADIT NIGHT"}
    assert settings.calling_titles == {"PACS1"}
    assert [str(each) for each in settings.calling_networks] == ["10.20.0.0/16"]


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort"])
def test_a_pacs_outside_is_known_by_its_address(helm4: Helm, kind: str) -> None:
    documents = helm4.render({"receiver": {"enabled": True, "service": {"type": kind, "nodePort": 31104}}})
    service = named(documents, "Service")["adit-receiver"]["spec"]
    assert (service["type"], service["externalTrafficPolicy"]) == (kind, "Local")
    assert [(port["name"], port["nodePort"]) for port in service["ports"]] == [("dicom", 31104)]
    inside = named(documents, "Service")["adit-receiver-http"]["spec"]
    assert "type" not in inside


def test_a_port_of_the_nodes_is_given_up_before_it_is_taken(helm4: Helm) -> None:
    spec = named(helm4.render({"receiver": {"enabled": True, "hostPort": 104}}), "Deployment")["adit-receiver"]["spec"]
    [container] = spec["template"]["spec"]["containers"]
    assert {port["name"]: port.get("hostPort") for port in container["ports"]} == {"dicom": 104, "http": None}
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_client_certificates_are_asked_for_only_where_that_is_wanted(helm4: Helm) -> None:
    def keys(**tls: Any) -> set[str]:
        documents = helm4.render({"receiver": {"enabled": True, "tls": {"secretName": "mine", **tls}}})
        volumes = named(documents, "Deployment")["adit-receiver"]["spec"]["template"]["spec"]["volumes"]
        [volume] = [each for each in volumes if each["name"] == "tls"]
        [source] = volume["projected"]["sources"]
        assert "optional" not in source["secret"]
        return {item["key"] for item in source["secret"]["items"]}

    assert keys() == {"tls.crt", "tls.key"}
    assert keys(clientCertificates=True) == {"tls.crt", "tls.key", "ca.crt"}


def test_workers_listen_where_the_policies_let_the_receiver_in(helm4: Helm) -> None:
    policies = named(helm4.render({"receiver": {"enabled": True}}), "NetworkPolicy")
    [rule] = policies["adit-workers"]["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == [RELAY_PORT]


def test_a_new_version_does_not_restart_the_database(helm4: Helm) -> None:
    """The pod's template is the same, whatever the version of ADIT."""
    one, other = (named(helm4.render({"image": {"tag": tag}}), "StatefulSet")["adit-postgres"] for tag in ("a", "b"))
    assert one == other
    assert "app.kubernetes.io/version" not in one["spec"]["template"]["metadata"]["labels"]
    assert "app.kubernetes.io/version" not in one["spec"]["volumeClaimTemplates"][0]["metadata"]["labels"]


def test_crds_are_those_of_the_repository(helm4: Helm) -> None:
    for file in CRDS.glob("*.yaml"):
        copy = CHART / "files" / "crds" / file.name
        assert copy.read_text() == file.read_text(), "run: make chart"
    assert {file.name for file in CRDS.iterdir()} == {file.name for file in (CHART / "files" / "crds").iterdir()}
    found = named(helm4.render(), "CustomResourceDefinition")
    expected = {
        each["metadata"]["name"]: each for each in (yaml.safe_load(file.read_text()) for file in CRDS.iterdir())
    }
    assert {name: each["spec"] for name, each in found.items()} == {
        name: each["spec"] for name, each in expected.items()
    }
    for each in found.values():
        assert each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize(("values", "kept"), [({"crds": {"keep": False}}, 3), ({"crds": {"enabled": False}}, 0)])
def test_crds_are_kept_only_if_wanted(helm4: Helm, values: dict[str, Any], kept: int) -> None:
    found = named(helm4.render(values), "CustomResourceDefinition").values()
    assert len(found) == kept
    assert not any("helm.sh/resource-policy" in each["metadata"]["annotations"] for each in found)


def test_images_by_registry_tag_and_digest(helm4: Helm) -> None:
    def images(values: dict[str, Any]) -> set[str]:
        return {container["image"] for _, spec in pods(helm4.render(values)) for container in spec["containers"]}

    ours = "registry.example.org/adit"
    assert images({"image": {"registry": ours, "tag": "7"}}) == {
        f"{ours}/adit-operator:7",
        f"{ours}/adit-api:7",
        "docker.io/library/postgres:18",
    }
    assert images(VALUES["by digest"]) == {
        "localhost/adit-operator@sha256:" + "a" * 64,
        "quay.io/other/api:v1_2.3",
        "docker.io/library/postgres@sha256:" + "b" * 64,
    }


def test_notes_name_the_next_commands(helm4: Helm, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "none"
    done = helm4.run(
        "install", "adit", str(CHART), "--dry-run=client", "--namespace=dicom", "--set=sandbox.enabled=true",
        f"--kubeconfig={kubeconfig}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    assert "helm test adit -n dicom" in notes
    assert "kubectl -n dicom apply -f examples/kubernetes/transferjob.yaml" in notes
    assert "docs/operations.md" in notes
    for path in re.findall(r"(?:examples|docs)/[\w./-]+", notes):
        assert (ROOT / path.rstrip(".")).exists()


def test_the_reference_of_values_is_up_to_date(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts" / "make-chart"), str(tmp_path)], check=True)
    assert (ROOT / "docs" / "values.md").read_text() == (tmp_path / "docs" / "values.md").read_text(), "run: make chart"


def test_the_facade_gets_what_any_kind_of_node_may_use_of_a_secret(helm4: Helm) -> None:
    [spec] = [spec for name, spec in pods(helm4.render({"api": {"nodeSecrets": ["pacs"]}})) if name.endswith("-api")]
    [volume] = [each for each in spec["volumes"] if each["name"] == "node-pacs"]
    [source] = volume["projected"]["sources"]
    keys = {item["key"] for item in source["secret"]["items"]}
    assert keys == {*TLS_KEYS, *(key for each in KEYS_OF_SCHEME.values() for key in each)}
    assert source["secret"]["optional"]
