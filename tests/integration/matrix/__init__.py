"""From every kind of node to every kind of node."""
