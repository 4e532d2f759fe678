"""Content on disk: hashing it, reading it for others, writing it piece by piece, putting it in place.

Used by all processes of a peer and by the command line. Knows manifests and pieces, nothing of sockets or peers.
"""
