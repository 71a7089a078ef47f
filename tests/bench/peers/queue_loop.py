"""Peer: one process, the asynchronous queue of the openvino API for both models; decoding in a thread beside it.

The detector's results are handed to a second thread, which cuts the crops and starts the classifier: a callback that
waits for a free request of the other queue would wait for itself.
"""

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import cv2
import openvino as ov
from shared import boxes_of, classifier_input, detector_input, job_of_command_line, rows_of

job = job_of_command_line()
answers, found = job.open_answers(), queue.Queue()
core = ov.Core()
properties = job.properties(PERFORMANCE_HINT="THROUGHPUT", NUM_STREAMS=str(job.cores), INFERENCE_NUM_THREADS=job.cores)
detect = ov.AsyncInferQueue(core.compile_model(job.detector, "CPU", properties), job.cores)
classify = ov.AsyncInferQueue(core.compile_model(job.classifier, "CPU", properties), job.cores)


def detected(request, told):
    number, image, scale = told
    out = request.get_output_tensor(0).data
    found.put((number, image, boxes_of(out, scale, image.shape, job.confidence, job.iou)))


def classified(request, told):
    number, boxes = told
    answers.add(number, rows_of(boxes, request.get_output_tensor(0).data))


def classify_all():
    for _ in job.files:
        number, image, boxes = found.get()
        if len(boxes):
            classify.start_async({0: classifier_input(image, boxes, job.mean)}, (number, boxes))
        else:
            answers.add(number, [])
    classify.wait_all()


def prepared(file):
    image = cv2.imread(file)
    return image, *detector_input(image)


detect.set_callback(detected)
classify.set_callback(classified)
second = threading.Thread(target=classify_all)
second.start()
with ThreadPoolExecutor(1) as pool:
    ahead, files = queue.SimpleQueue(), iter(job.files)
    for file in islice(files, 2 * job.cores):
        ahead.put(pool.submit(prepared, file))
    for number in range(len(job.files)):
        image, tensor, scale = ahead.get().result()
        file = next(files, None)
        if file is not None:
            ahead.put(pool.submit(prepared, file))
        detect.start_async({0: tensor}, (number, image, scale))
detect.wait_all()
second.join()
answers.close()
