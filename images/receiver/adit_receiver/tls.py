"""TLS as its acceptor sees it (PS3.15 annex B: BCP 195), from a folder as a projected Secret makes it.

Made by `main` where a setting names the folder, asked by `listener` for each connection.
"""

from __future__ import annotations

import ssl
import threading
import time
from pathlib import Path
from typing import Final

import structlog

_log = structlog.get_logger(__name__)
_FILES: Final = ("tls.crt", "tls.key", "ca.crt")
_LOOK_EVERY: Final = 5.0  # seconds


class Certificates:
    """`tls.crt` and `tls.key`; where `ca.crt` stands beside them, callers must show a certificate that it signed.

    Certificates are renewed every few weeks while a receiver runs for months: changed files are read anew.
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError, of which ssl.SSLError is one."""
        self._folder = folder
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()
        self._seen = self._look()
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        """From any thread. Files that cannot be read, perhaps because they are just being written, change nothing."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at >= _LOOK_EVERY:
                self._looked_at = now
                self._renew()
            return self._context

    def _renew(self) -> None:
        try:
            seen = self._look()
            if seen == self._seen:
                return
            self._context = self._read()
        except OSError as error:
            _log.error("certificates cannot be read", reason=error.strerror or type(error).__name__)
        else:
            self._seen = seen
            _log.info("certificates renewed")

    def _look(self) -> tuple[tuple[str, int, int], ...]:
        found = ((name, self._folder / name) for name in _FILES)
        return tuple((name, path.stat().st_mtime_ns, path.stat().st_ino) for name, path in found if path.exists())

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._folder / "tls.crt", self._folder / "tls.key")
        authority = self._folder / "ca.crt"
        if authority.exists():
            context.load_verify_locations(authority)
            context.verify_mode = ssl.CERT_REQUIRED
            # The same in every Python, as towards a node: see adit.dicom.dimse.tls.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context
