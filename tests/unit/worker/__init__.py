"""The worker without a process: what it writes and what it imports."""
