"""Peer: one process, one loop, each model call with all cores. What people write first."""

import cv2
from shared import Models, job_of_command_line

job = job_of_command_line()
models, answers = Models(job, PERFORMANCE_HINT="LATENCY"), job.open_answers()
for number, file in enumerate(job.files):
    answers.add(number, models.rows(cv2.imread(file)))
answers.close()
