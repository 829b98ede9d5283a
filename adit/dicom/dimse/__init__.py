"""DIMSE peers: find by C-FIND, fetch by C-GET, store by C-STORE, probe by C-ECHO and negotiation.

pynetdicom makes and reads every PDU of the negotiation and knows the standard's names; the message
pump is ours (association.py says why). pynetdicom's log is switched off: it prints what peers send.
"""

import logging

logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
