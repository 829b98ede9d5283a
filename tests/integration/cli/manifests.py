"""Manifests for two Orthancs, as a user would write them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.peers.orthanc import Orthanc
from tests.samples import Study


@dataclass(frozen=True)
class Hospital:
    """A source and a destination."""

    source: Orthanc
    destination: Orthanc

    def nodes(self, *, limits: dict[str, Any] | None = None, services: list[str] | None = None) -> str:
        """Both DicomNodes; `limits` of the source, `services` of the destination."""
        dimse = {"aeTitle": "RESEARCH", "host": "127.0.0.1", "port": self.destination.dicom_port}
        return documents(
            document(
                "DicomNode",
                "hospital",
                {
                    "dimse": {"aeTitle": "HOSPITAL", "host": "127.0.0.1", "port": self.source.dicom_port},
                    "limits": limits or {},
                },
            ),
            document("DicomNode", "research", {"dimse": dimse | ({"services": services} if services else {})}),
        )


def job(name: str, *studies: Study | str, destination: str | dict[str, Any] = "research", **spec: Any) -> str:
    """A TransferJob of these studies."""
    uids = [study if isinstance(study, str) else study.study_instance_uid for study in studies]
    selection = {"studies": [{"studyInstanceUID": uid} for uid in uids]}
    to = {"node": destination} if isinstance(destination, str) else destination
    return documents(
        document(
            "TransferJob",
            name,
            {"source": {"node": "hospital"}, "destination": to, "selection": selection} | spec,
        )
    )


def document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "adit.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def documents(*given: dict[str, Any]) -> str:
    """JSON is YAML."""
    return "".join(f"---\n{json.dumps(each)}\n" for each in given)
