"""Peer: imagezmq. A sender reads the files and sends them as they are (send_jpg); the hub decodes and runs the loop."""

import subprocess
import sys

import cv2
import imagezmq
import numpy as np
from shared import Models, job_of_command_line

ENDPOINT = "tcp://127.0.0.1:5567"


def send(job):
    sender = imagezmq.ImageSender(connect_to=ENDPOINT)
    for number, file in enumerate(job.files):
        with open(file, "rb") as opened:
            sender.send_jpg(str(number), opened.read())


def hub(job):
    models, answers = Models(job, PERFORMANCE_HINT="LATENCY"), job.open_answers()
    receiver = imagezmq.ImageHub(open_port=ENDPOINT.replace("127.0.0.1", "*"))
    sender = subprocess.Popen([sys.executable, __file__, job.path, "send"])
    for _ in job.files:
        number, data = receiver.recv_jpg()
        receiver.send_reply(b"OK")  # at once: the sender reads the next while this one is worked on
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        answers.add(int(number), models.rows(image))
    sender.wait()
    receiver.close()
    answers.close()


job = job_of_command_line()
send(job) if sys.argv[2:] == ["send"] else hub(job)
