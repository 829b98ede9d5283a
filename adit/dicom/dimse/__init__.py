"""DIMSE peers: find by C-FIND, fetch by C-GET, store by C-STORE, probe by C-ECHO and negotiation.

pynetdicom makes and reads every PDU of the negotiation and knows the standard's names; the message
pump is ours (association.py says why). What peers answer is judged by our own code: pydicom's
warnings would print the values, and a patient's name has no place in a log.
"""

import logging

from pydicom import config

config.settings.reading_validation_mode = config.IGNORE
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
