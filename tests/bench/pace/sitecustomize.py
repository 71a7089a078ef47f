"""Loaded by every Python process that has this folder on PYTHONPATH: lets image files come one every ZPIPE_PACE_S, as a
camera's pictures would, where zpipe would read them as fast as it may."""

import os
import sys

PACE_S = os.environ.get("ZPIPE_PACE_S")

if PACE_S and "worker" in sys.argv[1:2] + sys.orig_argv[2:3] and "ingest" in sys.orig_argv:
    import time

    import zpipe.sources.files as files

    read_all = files.FileSource.frames

    def paced(self, start=1):
        due = time.monotonic()
        for frame in read_all(self, start):
            time.sleep(max(0.0, due - time.monotonic()))
            due += float(PACE_S)
            yield frame

    files.FileSource.frames = paced
