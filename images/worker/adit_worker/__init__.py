"""The worker process: runs one attempt at a task, then exits with the code of its outcome."""
