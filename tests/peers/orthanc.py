"""A real Orthanc with a storage folder of its own, driven through DIMSE and looked into through REST."""

from __future__ import annotations

import json
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.peers.server_process import ServerProcess, free_port, listens

ORTHANC = "/usr/sbin/Orthanc"
DICOMWEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback never goes through a proxy


class OrthancRest:
    """What an Orthanc holds, asked by its REST API, wherever it runs."""

    def __init__(self, http_url: str, user: tuple[str, str] | None = None) -> None:
        self._http_url = http_url
        self._headers = (
            {} if user is None else {"Authorization": f"Basic {b64encode(':'.join(user).encode()).decode()}"}
        )

    @property
    def name(self) -> str:
        """For messages."""
        return self._http_url

    @property
    def http_url(self) -> str:
        return self._http_url

    # --- what it holds ---

    def upload(self, *objects: bytes | Path) -> None:
        """Stores DICOM files by REST; AssertionError where it refuses one."""
        for item in objects:
            body = item if isinstance(item, bytes) else item.read_bytes()
            self._request("POST", "/instances", body)

    def counts(self) -> dict[str, int]:
        """Numbers of patients, studies, series and instances."""
        statistics = self.get("/statistics")
        return {name: int(statistics[f"Count{name.capitalize()}"]) for name in _LEVELS}

    def studies(self) -> set[str]:
        return {item["MainDicomTags"]["StudyInstanceUID"] for item in self.get("/studies?expand")}

    def series_of(self, study_instance_uid: str) -> set[str]:
        found = self.find("Series", StudyInstanceUID=study_instance_uid)
        return {item["MainDicomTags"]["SeriesInstanceUID"] for item in found}

    def instances_of(self, study_instance_uid: str) -> set[str]:
        """The SOP Instance UIDs that it holds of a study; empty when it does not know the study."""
        found = self.find("Instance", StudyInstanceUID=study_instance_uid)
        return {item["MainDicomTags"]["SOPInstanceUID"] for item in found}

    def instance_tags(self, sop_instance_uid: str) -> dict[str, Any]:
        """All tags of an instance by keyword, as Orthanc reads them."""
        tags = self.get(f"/instances/{self._instance(sop_instance_uid)}/simplified-tags")
        assert isinstance(tags, dict)
        return tags

    def instance_file(self, sop_instance_uid: str) -> bytes:
        """The DICOM file as Orthanc keeps it."""
        return self.file(self._instance(sop_instance_uid))

    def file(self, orthanc_id: str) -> bytes:
        """The same, by Orthanc's own name of the instance."""
        return self._request("GET", f"/instances/{orthanc_id}/file")

    def delete_all(self) -> None:
        for patient in self.get("/patients"):
            self._request("DELETE", f"/patients/{patient}")

    def delete_instance(self, sop_instance_uid: str) -> None:
        self._request("DELETE", f"/instances/{self._instance(sop_instance_uid)}")

    def knows(self, aet: str, host: str, port: int, *, tls: bool = False) -> None:
        """Makes `aet` a destination of C-MOVE; kept over a restart."""
        modality = {"AET": aet, "Host": host, "Port": port, "UseDicomTls": tls}
        self._request("PUT", f"/modalities/{aet}", json.dumps(modality).encode())

    # --- REST ---

    def find(self, level: str, **query: str) -> list[dict[str, Any]]:
        """`/tools/find`, expanded."""
        body = json.dumps({"Level": level, "Query": query, "Expand": True}).encode()
        found = json.loads(self._request("POST", "/tools/find", body))
        assert isinstance(found, list)
        return found

    def get(self, path: str) -> Any:
        return json.loads(self._request("GET", path))

    def _instance(self, sop_instance_uid: str) -> str:
        found = self.find("Instance", SOPInstanceUID=sop_instance_uid)
        assert len(found) == 1, f"{self.name} holds {len(found)} instances {sop_instance_uid}"
        return str(found[0]["ID"])

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.http_url + path, data=body, method=method, headers=self._headers)
        try:
            with _OPENER.open(request, timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.code} {error.read()[:300]!r}") from None


class Orthanc(OrthancRest):
    """Started by `with` (or `start`); ports, database and storage outlive `stop` and `kill`.

    `settings` are Orthanc's own configuration keys and win over the defaults below. `tmp` is where
    the files and `orthanc.log` go, a fresh folder of it for each Orthanc. `dicomweb` loads its plugin;
    `user` is who asks by REST, where the settings make it ask who it is; `host` is the address that it is asked at.
    """

    def __init__(
        self,
        tmp: Path,
        *,
        aet: str = "ORTHANC",
        dicomweb: bool = False,
        user: tuple[str, str] | None = None,
        host: str = "127.0.0.1",
        **settings: Any,
    ) -> None:
        super().__init__("", user)  # its ports may change before it answers
        self.aet = aet
        self.host = host
        self.folder = Path(tempfile.mkdtemp(prefix="orthanc-", dir=tmp))
        self.dicom_port = free_port()
        self.http_port = free_port()
        self._settings = {"Plugins": [DICOMWEB] if dicomweb else [], **settings}
        self._process: ServerProcess | None = None

    @property
    def http_url(self) -> str:
        return f"http://{self.host}:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        return f"{self.http_url}/dicom-web"

    @property
    def name(self) -> str:
        return self.aet

    @property
    def log(self) -> Path:
        return self.folder / "orthanc.log"

    @property
    def process(self) -> ServerProcess:
        assert self._process is not None, "this Orthanc is not started"
        return self._process

    # --- life ---

    def start(self) -> None:
        """Starts it with the ports and the storage that it had before; fresh ports if it never ran."""
        for attempt in range(3):
            file = self.folder / "orthanc.json"
            file.write_text(json.dumps(self._configuration()))
            self._process = ServerProcess([ORTHANC, str(file)], self.log)
            try:
                self._process.wait_until(self._answers)
            except AssertionError:
                if attempt == 2 or (self.folder / "ran").exists():
                    raise
                self.dicom_port, self.http_port = free_port(), free_port()  # somebody was faster
            else:
                (self.folder / "ran").touch()
                return

    def stop(self) -> None:
        """Orderly, 2-3 s."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """At once, as in a power failure; what it acknowledged is on its disk."""
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def _answers(self) -> bool:
        try:
            return listens(self.dicom_port, self.host) and self.get("/system") is not None
        except (OSError, urllib.error.URLError):
            return False

    def _configuration(self) -> dict[str, Any]:
        return {
            "Name": self.aet,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "DicomAet": self.aet,
            "DicomPort": self.dicom_port,
            "HttpPort": self.http_port,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": self.host != "127.0.0.1",
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomCheckCalledAet": False,
            "DicomCheckModalityHost": False,
            "DicomModalitiesInDatabase": True,
            "UnknownSopClassAccepted": True,
            "OverwriteInstances": True,
            "SyncStorageArea": False,
            "SaveJobs": False,
            "MaximumStorageSize": 0,
            "StableAge": 1,
            **self._settings,
        }


_LEVELS = ("patients", "studies", "series", "instances")
