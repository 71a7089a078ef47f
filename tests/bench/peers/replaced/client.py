"""Peer: the replaced design. The client sends pickled JPEGs, as fast as it may or at a given pace."""

import subprocess
import sys
import threading
import time
from multiprocessing.connection import Client
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from shared import job_of_command_line

WINDOW = 8
"""Frames under way at most when there is no pace: without it all of them would lie in the server's memory."""


def connected(port, server):
    while server.poll() is None:
        try:
            return Client(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise SystemExit("the server has ended")


def main():
    job = job_of_command_line()
    server = subprocess.Popen([sys.executable, str(Path(__file__).with_name("server.py")), job.path])
    answers, sent, room = job.open_answers(), {}, threading.Semaphore(WINDOW if job.pace_s is None else 1 << 30)
    connection = connected(job.port, server)

    def receive():
        for _ in job.files:
            number, rows = connection.recv()
            answers.add(number, rows.tolist(), sent[number])
            room.release()

    receiver = threading.Thread(target=receive)
    receiver.start()
    began = time.monotonic()
    for number, file in enumerate(job.files):
        if job.pace_s is not None:
            time.sleep(max(0.0, began + number * job.pace_s - time.monotonic()))
        room.acquire()
        with open(file, "rb") as opened:
            data = opened.read()
        sent[number] = time.time()
        connection.send((number, data))
    receiver.join()
    connection.send(None)
    server.wait()
    answers.close()


main()
