"""The agent process: membership, library, local API, and the list of downloads.

`process` is the shell, `core` the whole agent without sockets; `membership`, `lookups` and `roster` talk to the
tracker; `shares`, `gets` and `catalogue` decide what is shared and fetched; `library` and `folders` look at the disk.
"""
