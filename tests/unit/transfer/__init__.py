"""The pure parts of a transfer, over nodes in memory."""
