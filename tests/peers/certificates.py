"""A certificate authority of a test's own, for DIMSE over TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any


class Certificates:
    """`ca.crt`, and for each name asked a folder with `ca.crt`, `tls.crt` and `tls.key`, as a Secret has them."""

    def __init__(self, folder: Path, name: str = "test-ca") -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.ca = self.folder / "ca.crt"
        self._openssl("req", "-x509", "-subj", f"/CN={name}", *self._new_key("ca.key"), "-days", "30", "-out", "ca.crt")

    def issue(self, common_name: str, *names: str, days: int = 30) -> Path:
        """A folder with a key and a certificate; `names` such as `DNS:localhost`, `IP:127.0.0.1`.

        With `days` -1 it expired yesterday.
        """
        folder = self.folder / common_name
        folder.mkdir()
        (folder / "ca.crt").write_bytes(self.ca.read_bytes())
        extension = folder / "extension"
        extension.write_text(f"subjectAltName={','.join(names or ('DNS:localhost', 'IP:127.0.0.1'))}\n")
        request, key, certificate = (f"{common_name}/{file}" for file in ("tls.csr", "tls.key", "tls.crt"))
        self._openssl("req", "-subj", f"/CN={common_name}", *self._new_key(key), "-out", request)
        signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", str(extension)]
        self._openssl("x509", "-req", "-in", request, *signing, "-days", str(days), "-out", certificate)
        return folder

    def orthanc_settings(self, folder: Path, *, clients_too: bool = False) -> dict[str, Any]:
        """Settings that make an Orthanc speak TLS with a certificate made by `issue`."""
        return {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(folder / "tls.crt"),
            "DicomTlsPrivateKey": str(folder / "tls.key"),
            "DicomTlsTrustedCertificates": str(self.ca),
            "DicomTlsRemoteCertificateRequired": clients_too,
        }

    def dcmtk_flags(self, folder: Path) -> tuple[str, ...]:
        """Flags that make a DCMTK program speak TLS with a certificate made by `issue`, and ask for the other's."""
        return ("+tls", str(folder / "tls.key"), str(folder / "tls.crt"), "+cf", str(self.ca))

    @staticmethod
    def _new_key(file: str) -> list[str]:
        return ["-newkey", "rsa:2048", "-nodes", "-keyout", file]

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
