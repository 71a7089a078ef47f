"""Peer: Ray Data. read_images, then two map_batches with actor pools; the driver takes the rows as they come."""

import os

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import cv2
import numpy as np
import ray
from shared import Job, Models, job_of_command_line


class Detect:
    def __init__(self, path):
        cv2.setNumThreads(1)
        self.models = Models(Job(path), INFERENCE_NUM_THREADS=1)

    def __call__(self, batch):
        # read_images gives RGB; the models want BGR.
        batch["image"] = np.stack([np.ascontiguousarray(image[:, :, ::-1]) for image in batch["image"]])
        found = [self.models.detect(image).astype(np.float64).tobytes() for image in batch["image"]]
        batch["boxes"] = np.array(found, object)
        return batch


class Classify:
    def __init__(self, path):
        cv2.setNumThreads(1)
        self.models = Models(Job(path), INFERENCE_NUM_THREADS=1)

    def __call__(self, batch):
        rows = []
        for image, boxes in zip(batch["image"], batch["boxes"], strict=False):
            rows.append(self.models.classify(image, np.frombuffer(boxes, np.float64).reshape(-1, 6)))
        return {"path": batch["path"], "rows": np.array([np.array(r, np.float64).tobytes() for r in rows], object)}


def run(job):
    ray.init(num_cpus=job.cores, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    numbers = {}
    for number, file in enumerate(job.files):
        numbers.setdefault(os.path.basename(file), []).append(number)
    data = ray.data.read_images(job.files, include_paths=True, override_num_blocks=len(job.files) // 4)
    for stage in (Detect, Classify):
        data = data.map_batches(
            stage,
            fn_constructor_args=(job.path,),
            batch_size=2,
            compute=ray.data.ActorPoolStrategy(size=job.cores),
            num_cpus=0.25,  # half of the cores for two pools of an actor per core; the rest is for reading
        )
    answers = job.open_answers()
    for row in data.iter_rows():
        number = numbers[os.path.basename(row["path"])].pop(0)
        answers.add(number, np.frombuffer(row["rows"], np.float64).reshape(-1, 8).tolist())
    answers.close()


if __name__ == "__main__":
    run(job_of_command_line())
