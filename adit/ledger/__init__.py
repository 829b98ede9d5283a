"""The Postgres record: jobs, tasks, attempts, and a row per instance. Only here is SQL spoken."""
