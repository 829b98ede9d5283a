"""Real peers that tests start: Orthanc, DCMTK's storescp and dcmqrscp, our receiver, and two that misbehave on order.

Every peer is a context manager that picks free ports, answers before it is handed out, and ends by
its own pid; any number may run at once.
"""

from tests.peers.certificates import Certificates
from tests.peers.dcmtk import Dcmqrscp, Storescp
from tests.peers.orthanc import Orthanc
from tests.peers.receiver import Receiver
from tests.peers.scripted import Behaviour, Received, ScriptedSCP
from tests.peers.scripted_web import ScriptedWeb

__all__ = [
    "Behaviour",
    "Certificates",
    "Dcmqrscp",
    "Orthanc",
    "Received",
    "Receiver",
    "ScriptedSCP",
    "ScriptedWeb",
    "Storescp",
]
