"""Attempts between real peers, written into a real Postgres."""
