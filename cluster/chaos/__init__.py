"""A cluster of real processes in which everything goes wrong."""
