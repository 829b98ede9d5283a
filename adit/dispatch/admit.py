"""Which tasks may start now: budgets, windows, priority, fairness. A pure decision.

Called by the dispatcher with a snapshot taken under the admission lock; what it grants is claimed in
the same transaction, so two dispatchers never spend the same slot.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from adit.dispatch.shares import Side, shares, slots
from adit.dispatch.window import is_open
from adit.ledger.records import AdmissionSnapshot, Candidate, Grant, NodeKey
from adit.model.transfer_job import Priority

_ORDER = (Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.LOW)


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """What belongs to this dispatcher rather than to a node or a job."""

    max_running: int = 100  # attempts at once, of all jobs
    max_starts: int = 50  # claims in one transaction, so that the lock is held shortly
    jobs: frozenset[UUID] | None = None  # start tasks of these only (`adit run`); of all, if None
    closed: frozenset[str] = frozenset()  # namespaces in which nothing can be started for now


def admit(snapshot: AdmissionSnapshot, settings: AdmissionSettings | None = None) -> list[Grant]:
    """The tasks to start now, one grant each, in the order in which they should be launched.

    - A task starts only while its job's parallelism, the slots of its source and of its destination
      and the global cap have room, both nodes' windows are open and the job's deadline lies ahead.
    - Urgent before High before Normal before Low. Within a priority the owner with the fewest
      running tasks is next, counting those just granted; within an owner the oldest job.
    - A job that cannot start holds up no other.
    """
    chosen = _choose(snapshot, settings or AdmissionSettings())
    return _with_shares(chosen, snapshot)


@dataclass(slots=True)
class _Room:
    """What is left while grants are made; it only ever shrinks."""

    total: int
    nodes: dict[NodeKey, int]
    jobs: dict[UUID, int]  # due tasks that may start

    def fits(self, candidate: Candidate) -> bool:
        return (
            self.total > 0
            and self.jobs[candidate.record.id] > 0
            and self.nodes.get(candidate.source, 0) > 0
            and self.nodes.get(candidate.destination, 0) > 0
        )

    def take(self, candidate: Candidate) -> None:
        self.total -= 1
        self.jobs[candidate.record.id] -= 1
        self.nodes[candidate.source] -= 1
        self.nodes[candidate.destination] -= 1


def _choose(snapshot: AdmissionSnapshot, settings: AdmissionSettings) -> list[Candidate]:
    room = _Room(
        total=min(settings.max_starts, settings.max_running - snapshot.total_running),
        nodes={
            key: slots(load) if is_open(load.node.spec.windows, snapshot.now) else 0
            for key, load in snapshot.nodes.items()
        },
        jobs={candidate.record.id: _job_room(candidate, snapshot) for candidate in snapshot.candidates},
    )
    running = dict(snapshot.owner_running)
    chosen: list[Candidate] = []
    ours = [
        each
        for each in snapshot.candidates
        if (settings.jobs is None or each.record.id in settings.jobs) and each.source[0] not in settings.closed
    ]
    for priority in _ORDER:
        same = [candidate for candidate in ours if candidate.record.job.spec.priority is priority]
        _choose_fairly(same, room, running, chosen)
    return chosen


def _job_room(candidate: Candidate, snapshot: AdmissionSnapshot) -> int:
    deadline = candidate.record.deadline
    if deadline is not None and deadline <= snapshot.now:
        return 0
    return min(candidate.due, candidate.record.job.spec.parallelism - candidate.running)


def _choose_fairly(
    candidates: Sequence[Candidate], room: _Room, running: dict[str, int], chosen: list[Candidate]
) -> None:
    """Lets owners take turns, the one with the fewest running tasks first, until nothing fits."""
    queues: dict[str, deque[Candidate]] = defaultdict(deque)
    for candidate in sorted(candidates, key=_age):
        queues[candidate.record.job.owner].append(candidate)
    while queues:
        owner = min(queues, key=lambda name: (running.get(name, 0), _age(queues[name][0])))
        # Room only shrinks, so a job that does not fit now will not fit later in this round.
        while queues[owner] and not room.fits(queues[owner][0]):
            queues[owner].popleft()
        if not queues[owner]:
            del queues[owner]
            continue
        candidate = queues[owner][0]
        room.take(candidate)
        running[owner] = running.get(owner, 0) + 1
        chosen.append(candidate)


def _age(candidate: Candidate) -> tuple[float, str]:
    return candidate.record.created_at.timestamp(), str(candidate.record.id)


def _with_shares(chosen: Sequence[Candidate], snapshot: AdmissionSnapshot) -> list[Grant]:
    uses: Mapping[NodeKey, list[Side]] = defaultdict(list)
    for candidate in chosen:
        uses[candidate.source].append(Side.SOURCE)
        uses[candidate.destination].append(Side.DESTINATION)
    parts = {key: iter(shares(snapshot.nodes[key], sides)) for key, sides in uses.items()}
    return [
        Grant(candidate.record.id, next(parts[candidate.source]), next(parts[candidate.destination]))
        for candidate in chosen
    ]
