"""DICOMweb servers: find by QIDO-RS, fetch by WADO-RS, store by STOW-RS, probe by small requests (PS3.18).

HTTP is urllib3's. dicomweb-client would be the library at hand, and does not stream: it gathers each instance in
memory and decodes it (`iter_study`), takes a request's body as one piece of bytes (`_http_post`), knows neither
Retry-After nor a redirect that must not be followed, and logs URLs, which hold patients' ids where a server is
asked for them. urllib3 hands a body over piece by piece in both directions, follows and repeats nothing unasked,
and is in the lock file already as a part of the Kubernetes client. Its own log is switched off: it prints URLs.
"""

import logging

logging.getLogger("urllib3").setLevel(logging.CRITICAL)
