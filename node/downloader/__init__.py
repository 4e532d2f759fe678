"""The downloader process: content from many sources at once, verified and put in place.

`process` is the shell, `core` all of it but sockets and threads, `job` one download in it; `download` has the
conversation with its sources and the cores that decide in it; `manifest_fetch` gets the manifest of a link; `links` has
the sockets, `job_work` the disk.
"""
