"""Sending frames to a pipeline that listens: `zpipe.send` and `zpipe send`. What is said on the way is `upload.py`."""
