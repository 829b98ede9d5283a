"""Peers that stop at once: pynetdicom's server looks only twice a second whether it was told to."""

from collections.abc import Iterator
from socketserver import BaseServer

import pytest


@pytest.fixture(autouse=True, scope="package")
def _servers_stop_at_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseServer.serve_forever, "__defaults__", (0.02,))
        yield
