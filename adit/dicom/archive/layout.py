"""What members of an archive are called: as the folder node files them below its job's folder. Pure; for `draft`."""

from __future__ import annotations

from adit.dicom.folder.naming import JobFolder, Placing, distinct


class Layout:
    """Folders belong to who comes first; who finds the name taken by another adds a digest of its own UID."""

    def __init__(self, job: JobFolder) -> None:
        self._job = job
        self._owners: dict[str, str] = {}  # of each folder, by its path
        self._folders: dict[tuple[str, str, str], str] = {}  # by its parent, and by what it is of

    def name_of(self, placing: Placing) -> str:
        folder = ""
        for level, identity, wished in (
            ("patient", placing.patient_id, placing.patient_folder(self._job.pseudonym)),
            ("study", placing.study_instance_uid, placing.study_folder),
            ("series", placing.series_instance_uid, placing.series_folder),
        ):
            folder = self._folder(folder, level, identity, wished)
        return f"{folder}{placing.file}"

    def _folder(self, parent: str, level: str, identity: str, wished: str) -> str:
        """Once an entity has a folder it keeps it, whatever its later instances would have it called."""
        key = (parent, level, identity)
        if key not in self._folders:
            path = f"{parent}{wished}/"
            if self._owners.setdefault(path.casefold(), identity) != identity:
                path = f"{parent}{distinct(wished, identity)}/"
                self._owners[path.casefold()] = identity
            self._folders[key] = path
        return self._folders[key]
