"""The piece server process: what this peer has, sent to whoever asks.

`process` is the shell; `uploads` has the sessions, `sending` decides who gets which piece next, on the records of
`swarm` and `uplink`; `shelf` has the files.
"""
