"""What a worker's pod is like, as the person who installs ADIT decided: read from one YAML file.

The chart renders the file from its values (docs/values.md); read by `main`, used by `job_manifest` and the launcher.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from adit.model.identifiers import Quantity, bytes_of

JsonObject = dict[str, Any]


class InvalidWorkerSettings(Exception):  # noqa: N818
    """The file cannot be used; the message names the field."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class DatabaseSecret(_Settings):
    """Where pods find the worker role's URL."""

    secret_name: str
    key: str = "worker-database-url"


class SizeClass(_Settings):
    """How much room a worker gets. `resources` are Kubernetes' own words."""

    name: str
    up_to: Quantity | None = None  # studies of at most so many bytes; the last class takes all
    resources: JsonObject = Field(default_factory=dict)
    spool: Quantity = "1Gi"  # the limit of the volume for what does not stay in memory

    def holds(self, size: int) -> bool:
        return self.up_to is None or size <= bytes_of(self.up_to)


class PodSettings(_Settings):
    """Passed on to every worker's pod as it is."""

    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[JsonObject] = Field(default_factory=list)
    affinity: JsonObject = Field(default_factory=dict)
    topology_spread_constraints: list[JsonObject] = Field(default_factory=list)
    priority_class_name: str = ""
    volumes: list[JsonObject] = Field(default_factory=list)
    volume_mounts: list[JsonObject] = Field(default_factory=list)


_DEFAULT_CLASS = SizeClass(
    name="default",
    resources={
        "requests": {"cpu": "100m", "memory": "192Mi", "ephemeral-storage": "1Gi"},
        "limits": {"memory": "384Mi", "ephemeral-storage": "9Gi"},
    },
    spool="8Gi",
)


class WorkerSettings(_Settings):
    """The whole file."""

    image: Annotated[str, Field(min_length=1)]
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: list[str] = Field(default_factory=list)
    service_account_name: str = "adit-worker"
    database: DatabaseSecret
    start_seconds: Annotated[int, Field(ge=30, le=86400)] = 600
    attempt_seconds: Annotated[int, Field(ge=60, le=2_000_000)] = 86400
    keep_seconds: Annotated[int, Field(ge=0, le=86400)] = 60
    ttl_seconds_after_finished: Annotated[int, Field(ge=60, le=2_000_000)] = 86400
    max_running: Annotated[int, Field(ge=1, le=3000)] = 100
    size_classes: Annotated[list[SizeClass], Field(min_length=1, max_length=10)] = Field(
        default_factory=lambda: [_DEFAULT_CLASS]
    )
    pod: PodSettings = PodSettings()

    @model_validator(mode="after")
    def _ascending(self) -> WorkerSettings:
        bounds = [each.up_to for each in self.size_classes[:-1]]
        if any(bound is None for bound in bounds):
            raise ValueError("sizeClasses: all but the last need upTo")
        sizes = [bytes_of(bound) for bound in bounds if bound is not None]
        if sizes != sorted(set(sizes)):
            raise ValueError("sizeClasses must ascend by upTo")
        return self

    @staticmethod
    def read(path: Path) -> WorkerSettings:
        """Raises InvalidWorkerSettings."""
        try:
            return WorkerSettings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise InvalidWorkerSettings(f"{path} cannot be read: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise InvalidWorkerSettings(f"{path} is no YAML: {error}") from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "the file"
            raise InvalidWorkerSettings(f"{path}: {field}: {first['msg']}") from error

    def size_class(self, known_bytes: int, outgrown: int) -> SizeClass:
        """The first class that holds what is known of the study, and one more for each time a worker was too small."""
        first = next(
            (index for index, each in enumerate(self.size_classes) if each.holds(known_bytes)),
            len(self.size_classes) - 1,
        )
        return self.size_classes[min(first + outgrown, len(self.size_classes) - 1)]
