"""The worker as a process: signals, kills, exit codes."""
