"""The replaced design's server: takes pickled JPEGs from a connection, hands pixel pointers to the library, and has a
thread that polls it for results and pickles them back."""

import ctypes
import sys
import threading
import time
from multiprocessing.connection import Listener

import cv2
import numpy as np

sys.path.insert(0, str(__import__("pathlib").Path(__file__).parents[1]))
from shared import job_of_command_line

POLL_S = 0.040


def main():
    job = job_of_command_line()
    library = ctypes.CDLL(job.library)
    library.start(
        job.detector.encode(),
        job.classifier.encode(),
        job.precision.encode(),
        ctypes.c_float(job.confidence),
        ctypes.c_float(job.iou),
        (ctypes.c_float * 3)(*job.mean),
    )
    frames = {}

    def send_back():
        rows, number = np.empty((1000, 8), np.float32), ctypes.c_int()
        while True:
            count = library.get(ctypes.byref(number), rows.ctypes.data_as(ctypes.c_void_p), 1000)
            if count < 0:
                time.sleep(POLL_S)
                continue
            connection.send((number.value, rows[:count].copy()))
            del frames[number.value]  # the library has read its pixels until now

    with Listener(("127.0.0.1", job.port)) as listener, listener.accept() as connection:
        threading.Thread(target=send_back, daemon=True).start()
        while (message := connection.recv()) is not None:
            number, data = message
            image = frames[number] = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            library.put(number, image.ctypes.data_as(ctypes.c_void_p), image.shape[1], image.shape[0])
    library.stop()


main()
