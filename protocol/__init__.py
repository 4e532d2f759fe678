"""What travels between processes and what it means: messages, codec, seeds, digests, bitfields, limits, errors.

Pure: no sockets, files, threads or clocks. Everything here may be imported by every other package and
imports none of them.
"""
