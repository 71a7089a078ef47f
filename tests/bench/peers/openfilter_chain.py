"""Peer: OpenFilter. A source filter reads and decodes, then a detect and a classify filter, each a process.

With its shared-memory transport on and JPEG off: by default it encodes each picture anew between filters, which
costs it speed and makes its answers differ.
"""

import os

os.environ.setdefault("OPENFILTER_SHM_ENABLE", "true")
os.environ.setdefault("LOG_LEVEL", "ERROR")
os.environ.setdefault("TELEMETRY_EXPORTER_ENABLED", "false")
os.environ.setdefault("OPENLINEAGE_DISABLED", "true")

import cv2
import numpy as np
from openfilter.filter_runtime import Filter, Frame
from shared import Job, Models, job_of_command_line


class Source(Filter):
    def setup(self, config):
        cv2.setNumThreads(1)
        self.files = enumerate(Job(config["job"]).files)

    def process(self, frames):
        number, file = next(self.files, (None, None))
        if file is None:
            return {"main": Frame(None, {"n": -1}, None)}
        return {"main": Frame(cv2.imread(file), {"n": number}, "BGR")}


class Detect(Filter):
    def setup(self, config):
        cv2.setNumThreads(1)
        self.models = Models(Job(config["job"]), INFERENCE_NUM_THREADS=1)

    def process(self, frames):
        frame = frames["main"]
        if frame.data["n"] < 0:
            return frames
        boxes = self.models.detect(frame.image)
        return {"main": Frame(frame, {**frame.data, "boxes": boxes.tolist()})}


class Classify(Filter):
    def setup(self, config):
        cv2.setNumThreads(1)
        self.job = Job(config["job"])
        self.models, self.answers = Models(self.job, INFERENCE_NUM_THREADS=1), self.job.open_answers()

    def process(self, frames):
        frame = frames["main"]
        if frame.data["n"] < 0:
            self.answers.close()
            self.exit("done")
            return
        boxes = np.array(frame.data["boxes"], np.float64).reshape(-1, 6)
        self.answers.add(frame.data["n"], self.models.classify(frame.image, boxes))


if __name__ == "__main__":
    job = job_of_command_line()
    lossless = {"outputs_jpg": False}
    first, second = "tcp://127.0.0.1:5591", "tcp://127.0.0.1:5593"
    Filter.run_multi(
        [
            (Source, {"id": "source", "outputs": first.replace("127.0.0.1", "*"), **lossless, "job": job.path}),
            (
                Detect,
                {
                    "id": "detect",
                    "sources": first,
                    "outputs": second.replace("127.0.0.1", "*"),
                    **lossless,
                    "job": job.path,
                },
            ),
            (Classify, {"id": "classify", "sources": second, "job": job.path}),
        ],
        prop_exit="all",
        obey_exit="all",
        stop_exit="all",
    )
