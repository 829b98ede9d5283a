"""The receiver: the C-STORE SCP that a PACS sends to when a worker asked it by C-MOVE."""
