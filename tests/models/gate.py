"""A gate without a socket, as the `sitecustomize` of a pipeline's processes: a worker that opens streams for others.

What is called `gate` among the sources listens. Its worker takes what "senders" have in folders: `uploads.json` beside
this file maps a sender's name to its upload id and its folder, a list of them, each opened at once.
"""

import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
IS_WORKER = "worker" in sys.orig_argv
ORDER = json.loads(sys.orig_argv[sys.orig_argv.index("worker") + 1]) if IS_WORKER else {}


def listens(entry):
    return entry.stream == "gate"


def with_gate(plan):
    """Have the plan of a run start one more process."""
    from zpipe.run.supervisor import StageWorkers

    gate = StageWorkers("ingest", "gate", 0, 1, 60.0, single=True, stays=True)
    plan.sources.append(gate)
    plan.all.append(gate)


def patch_up():
    """In `zpipe up`: entries that listen, and the gate's process."""
    from zpipe.run import intake, plan, resume, streams

    for module in (intake, resume, streams):
        module.listens = listens
    make = plan.Plan.__init__

    def make_with_gate(self, *arguments):
        make(self, *arguments)
        with_gate(self)

    plan.Plan.__init__ = make_with_gate


class Gate:
    """One frame of each stream in turn, as slots allow."""

    def __init__(self, link, heart, store, entry):
        self.link, self.heart, self.store, self.entry = link, heart, store, entry
        self.uploads = json.loads((HERE / "uploads.json").read_text())
        self.asked = [(name, upload, folder) for name, upload, folder in self.uploads]
        self.streams = {}
        self.slots = []
        self.stopping = False

    def run(self):
        from zpipe import wire

        worker = self.link.worker
        for name, upload, _ in self.asked:
            self.link.send(wire.Open(worker, self.entry, name, upload))
        while not self.stopping:
            self.link.flush()
            self.heart.beat()
            for message in self.link.take() if self.streams and self.slots else self.link.receive():
                self.hear(message)
            for number in list(self.streams):
                if self.slots and not self.stopping:
                    self.read(number)
        for number, (_, _, seq) in self.streams.items():
            self.link.send(wire.End(worker, number, seq - 1, 0, True))

    def hear(self, message):
        from zpipe import wire

        if isinstance(message, wire.Opened):
            _, _, folder = self.asked.pop(0)  # answers come in the order of the questions
            assert not message.refused, message.refused
            if not message.ended:
                files = sorted(Path(folder).iterdir(), key=lambda path: int(path.stem.strip("img")))
                self.streams[message.stream] = message.name, files, message.next
        elif isinstance(message, wire.Grant):
            self.slots += message.slots
        elif isinstance(message, wire.Recall):
            self.link.send(wire.GaveBack(self.link.worker, self.slots))
            self.slots = []
        elif isinstance(message, wire.Stop):
            self.stopping = True

    def read(self, number):
        from zpipe import messages, wire

        name, files, seq = self.streams[number]
        if seq > len(files):
            del self.streams[number]
            self.link.send(wire.End(self.link.worker, number, seq - 1, 0, False))
            return
        data, slot = files[seq - 1].read_bytes(), self.store.empty(self.slots.pop())
        self.heart.begin(number, seq)
        slot.encoded(len(data))[:] = data
        result = messages.Result(stream=name, seq=seq, name=files[seq - 1].name, timestamp=time.time_ns())
        body = messages.pack(result)
        self.streams[number] = name, files, seq + 1
        self.link.put(wire.Read(self.link.worker, number, seq, slot.picture, False, body), self.heart.done())


def patch_worker():
    """In the gate's process: what serves instead of ingest."""
    from zpipe import wire, worker

    def serve(task, order, config, link, heart):
        from zpipe.transport.store import Store

        entry = next(number for number, each in enumerate(config.ingest) if listens(each))
        link.send(wire.Ready(link.worker))
        Gate(link, heart, Store(order.folder), entry).run()

    worker.serve_ingest = serve


if ORDER.get("name") == "gate":
    patch_worker()
elif "up" in sys.orig_argv:
    patch_up()
