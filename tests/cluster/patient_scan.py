"""Looks for patients in all that a cluster tells: objects of every kind, and every pod's logs, those before a restart
too. Called by tests where jobs of each kind have been, with the words that may stand nowhere.

The logs of the sandbox's PACSs are among them. Excepted is the spec of a TransferJob, as somebody wrote it, with
kubectl's copy of it and its keys in managedFields.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.cluster.installation import Installation
from tests.cluster.kubernetes import Kubernetes
from tests.samples import Study

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_OF_ALL_PODS: Final = "!adit.dev/on-no-pod"
_LINE: Final = re.compile(r"\[pod/(?P<pod>[^/]+)/(?P<container>[^\]]+)\] (?P<text>.*)")
_SHORT: Final = 8
"""A name of fewer letters comes about by chance in a megabyte of base64, such as Helm's record of a release: it counts
only where it stands alone."""
_ALONE: Final = "[A-Za-z0-9+/=]"


@dataclass(frozen=True)
class Seen:
    """What was looked through, and where it names somebody."""

    findings: list[str]
    kinds: frozenset[str]
    logs: frozenset[str]
    """Pod/container, of those that had written something."""
    previous: frozenset[str]


class PatientScan:
    """For the words of these studies, and others; also where they are encoded in base64, or in other letters' case."""

    def __init__(self, studies: Iterable[Study] = (), words: Iterable[str] = ()) -> None:
        self._words = frozenset(words).union(*(_words_of(study) for study in studies))
        self._long = {word.lower(): word for word in self._words if len(word) >= _SHORT}
        self._encoded = {part: word for word in self._long.values() for part in _in_base64(word)}
        short = "|".join(map(re.escape, sorted(word for word in self._words if len(word) < _SHORT))) or "(?!)"
        self._short = re.compile(f"(?<!{_ALONE})(?:{short})(?!{_ALONE})", re.IGNORECASE)

    def look(self, *namespaces: str) -> Seen:
        """Through these namespaces, and through what is in none."""
        kinds: set[str] = set()
        findings: list[str] = []
        for item in _objects(namespaces):
            kinds.add(item["kind"])
            if found := self._found(json.dumps(_without_users_words(item), ensure_ascii=False)):
                findings.append(f"{item['kind']} {item['metadata']['name']}: {found}")
        logs, previous = _logs(namespaces), _logs(namespaces, "--previous")
        for name, text in (*logs.items(), *((f"{name} before", text) for name, text in previous.items())):
            if found := self._found(text):
                findings.append(f"log of {name}: {found}")
        return Seen(findings, frozenset(kinds), frozenset(logs), frozenset(previous))

    def _found(self, text: str) -> list[str]:
        lower = text.lower()
        plain = {word for low, word in self._long.items() if low in lower} | set(self._short.findall(text))
        return sorted(plain | {f"{word} in base64" for part, word in self._encoded.items() if part in text})


def names_nobody(installation: Installation, studies: Iterable[Study], *words: str) -> Seen:
    """AssertionError that says what in the release's cluster names a patient; what was looked through."""
    seen = PatientScan(studies, words).look(installation.namespace)
    assert seen.findings == [], "\n".join(seen.findings)
    assert seen.kinds >= {"TransferJob", "Job", "Pod", "Event", "Secret", "ConfigMap", "Lease", "Node", "Namespace"}
    components = ("operator", "api", "postgres", "sandbox-pacs", "sandbox-research")
    assert all(any(f"-{each}-" in name for name in seen.logs) for each in components), sorted(seen.logs)
    return seen


def _words_of(study: Study) -> set[str]:
    """Whom and what the study is of, by any of its names."""
    first = study.instances[0]
    name = str(first.PatientName)
    named = {study.patient_id, name, *name.split("^"), str(first.StudyDescription), study.study_instance_uid}
    return named | set(study.series_instance_uids) | study.sop_instance_uids


def _in_base64(word: str) -> Iterator[str]:
    """What a longer text that holds the word looks like there, by where in a group of three bytes it begins."""
    raw = word.encode()
    for offset, spoilt in ((0, 0), (1, 2), (2, 3)):
        whole = (offset + len(raw)) * 8 // 6
        yield base64.b64encode(bytes(offset) + raw).decode()[spoilt:whole]


def _objects(namespaces: Iterable[str]) -> Iterator[Any]:
    """Of every kind that can be listed, in few requests of few programs."""
    for namespaced, places in (("true", [("-n", each) for each in namespaces]), ("false", [()])):
        listed = _kubectl("api-resources", f"--namespaced={namespaced}", "--verbs=list", "-o", "name").split()
        for place in places:
            found = _kubectl("get", ",".join(listed), *place, "-o", "json", "--show-managed-fields")
            yield from json.loads(found)["items"]


def _without_users_words(item: Any) -> Any:
    if item["kind"] != "TransferJob":
        return item
    metadata = item["metadata"]
    notes = {key: value for key, value in metadata.get("annotations", {}).items() if key != _LAST_APPLIED}
    managed = [
        {**each, "fieldsV1": {key: value for key, value in each["fieldsV1"].items() if key != "f:spec"}}
        for each in metadata.get("managedFields", ())
    ]
    return {**item, "spec": None, "metadata": {**metadata, "annotations": notes, "managedFields": managed}}


def _logs(namespaces: Iterable[str], *more: str) -> dict[str, str]:
    """By pod and container. A container that has not started, or not restarted, has none."""
    texts: dict[str, list[str]] = {}
    for each in namespaces:
        how = ("--all-containers", "--prefix", "--ignore-errors", "--tail=-1", *more)
        for line in _kubectl("logs", "-n", each, "-l", _OF_ALL_PODS, *how).splitlines():
            found = _LINE.fullmatch(line)
            if found:
                texts.setdefault(f"{found['pod']}/{found['container']}", []).append(found["text"])
    return {name: "\n".join(lines) for name, lines in texts.items()}


def _kubectl(*arguments: str) -> str:
    return Kubernetes().kubectl(*arguments, timeout=120)
