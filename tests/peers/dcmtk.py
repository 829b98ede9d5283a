"""DCMTK's storescp and dcmqrscp, and its command-line SCUs by absolute path (pynetdicom's have the same names)."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.server_process import ServerProcess, free_port, listens

BIN = Path("/usr/bin")


def scu(
    program: str, *arguments: str, seconds: float = 60.0, within: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs echoscu, findscu, getscu, movescu or storescu, perhaps by the command `within`: its code and output."""
    return subprocess.run(
        [*within, str(BIN / program), *arguments], capture_output=True, text=True, timeout=seconds, check=False
    )


class Storescp:
    """A plain C-STORE SCP without a query service, which keeps what it gets in `received`.

    `flags` are storescp's own, such as `--ignore`, `--refuse`, `--abort-after`, `+xs` or `--max-pdu 16384`.
    """

    host = "127.0.0.1"

    def __init__(self, tmp: Path, *flags: str, aet: str = "STORESCP") -> None:
        self.aet = aet
        self.flags = flags
        self.folder = Path(tempfile.mkdtemp(prefix="storescp-", dir=tmp))
        self.received = self.folder / "received"
        self.received.mkdir()
        self.dicom_port = free_port()
        self._process: ServerProcess | None = None

    @property
    def log(self) -> Path:
        return self.folder / "storescp.log"

    @property
    def process(self) -> ServerProcess:
        assert self._process is not None, "this storescp is not started"
        return self._process

    def start(self) -> None:
        command = [str(BIN / "storescp"), "--aetitle", self.aet, "-od", str(self.received), *self.flags]
        self._process = ServerProcess([*command, str(self.dicom_port)], self.log)
        self._process.wait_until(lambda: listens(self.dicom_port))

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()

    def files(self) -> list[Path]:
        """What it holds, one file per SOP Instance UID."""
        return sorted(path for path in self.received.iterdir() if path.is_file())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class Dcmqrscp:
    """A small archive with C-FIND and C-GET, whose answers at image level name no SOP classes."""

    def __init__(
        self,
        tmp: Path,
        *,
        aet: str = "DCMQRSCP",
        destinations: Mapping[str, tuple[str, int]] | None = None,
        host: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        """`destinations` are the AE titles that it can send to by C-MOVE.

        `within` is a command that runs it in another place, such as a network, where its address is `host`.
        """
        self.aet = aet
        self.host = host
        self._within = within
        self._destinations = destinations or {}
        self.folder = Path(tempfile.mkdtemp(prefix="dcmqrscp-", dir=tmp))
        self.dicom_port = free_port()
        self._process: ServerProcess | None = None

    def start(self) -> None:
        (self.folder / "held").mkdir()
        configuration = self.folder / "dcmqrscp.cfg"
        hosts = "".join(f"{aet} = ({aet}, {host}, {port})\n" for aet, (host, port) in self._destinations.items())
        configuration.write_text(
            f"NetworkTCPPort = {self.dicom_port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
            f"HostTable BEGIN\n{hosts}HostTable END\nVendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\n{self.aet} {self.folder / 'held'} RW (200, 1024mb) ANY\nAETable END\n"
        )
        log = self.folder / "dcmqrscp.log"
        self._process = ServerProcess([*self._within, str(BIN / "dcmqrscp"), "-c", str(configuration)], log)
        self._process.wait_until(lambda: listens(self.dicom_port, self.host))

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
