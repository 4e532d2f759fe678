"""The command line of a peer. `app` dispatches; only this package may import click and rich."""
