"""The downloader process: content from many sources at once, verified and put in place.

`process` is the shell, `core` all of it but sockets and threads, `job` one download in it; `download` decides which
piece comes from whom, with `source` and `pieces`; `manifest_fetch` gets the manifest of a link; `links`
has the sockets, `job_work` the disk.
"""
