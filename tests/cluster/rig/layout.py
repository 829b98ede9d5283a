"""The folder (an OCI image layout) in which buildah leaves the rig's images, each layer once.

Called by `cluster` and images.sh with the system's Python:
  layout.py FOLDER digest NAME        the image's digest, or nothing
  layout.py FOLDER names              every image
  layout.py FOLDER added NAME BASE    what the image adds to the base, in MB
  layout.py FOLDER prune              removes what no image needs any more
  layout.py FOLDER tar HAVE NAME...   an archive for `ctr images import`, without the blobs that the file HAVE lists
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NAME = "org.opencontainers.image.ref.name"


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    index = folder / "index.json"
    manifests = json.loads(index.read_bytes())["manifests"] if index.exists() else []
    # One that was replaced by a newer of its name stays, without a name.
    return {entry["annotations"][_NAME]: entry for entry in manifests if "annotations" in entry}


def _blob(folder: Path, digest: str) -> Path:
    return folder / "blobs" / digest.replace(":", "/")


def _blobs(folder: Path, digest: str) -> Iterator[str]:
    manifest = json.loads(_blob(folder, digest).read_bytes())
    yield from [layer["digest"] for layer in manifest["layers"]]
    yield manifest["config"]["digest"]
    yield digest


def added(folder: Path, name: str, base: str) -> int:
    """Bytes, unpacked, in layers that the base does not have."""
    entries = _entries(folder)
    below = set(_blobs(folder, entries[base]["digest"]))
    *layers, _, _ = _blobs(folder, entries[name]["digest"])
    total = 0
    for layer in layers:
        if layer not in below:
            with gzip.open(_blob(folder, layer)) as unpacked:
                while chunk := unpacked.read(1 << 20):
                    total += len(chunk)
    return total


def prune(folder: Path) -> None:
    entries = _entries(folder)
    index = folder / "index.json.new"
    index.write_text(json.dumps({"schemaVersion": 2, "manifests": list(entries.values())}), encoding="utf-8")
    index.replace(folder / "index.json")
    needed = {blob for entry in entries.values() for blob in _blobs(folder, entry["digest"])}
    for blob in (folder / "blobs" / "sha256").iterdir():
        if f"sha256:{blob.name}" not in needed:
            blob.unlink()


def write_tar(folder: Path, have: set[str], names: list[str]) -> None:
    entries = _entries(folder)
    chosen = []
    blobs: dict[str, None] = {}
    for name in names:
        entry = entries[name]
        entry["annotations"]["io.containerd.image.name"] = name
        chosen.append(entry)
        blobs |= dict.fromkeys(_blobs(folder, entry["digest"]))
    index = json.dumps({"schemaVersion": 2, "manifests": chosen}).encode()
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        for name, data in (("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'), ("index.json", index)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for digest in blobs:
            if digest not in have:
                archive.add(_blob(folder, digest), f"blobs/{digest.replace(':', '/')}")


def main(folder: Path, verb: str, *arguments: str) -> None:
    if verb == "digest":
        print(_entries(folder).get(arguments[0], {}).get("digest", ""))
    elif verb == "names":
        print("\n".join(_entries(folder)))
    elif verb == "added":
        print(f"{added(folder, *arguments) / 1e6:.0f} MB on top of the base")
    elif verb == "prune":
        prune(folder)
    elif verb == "tar":
        have, *names = arguments
        write_tar(folder, set(Path(have).read_text(encoding="ascii").split()), names)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
