"""The whole system in one process and under virtual time."""
