"""Makes events.out.tfevents.000000.knownset and …000001… next to it: what tensorboard's own writer makes of the scalars that
src/tensorboard.rs' test writes; and reads folders back with tensorboard, to see that it takes them as they are meant.

Made with tensorboard 2.21.0, protobuf 7.36.2. Run it in this folder:
    python make_tensorboard.py             # writes the golden files
    python make_tensorboard.py FOLDER      # prints the scalars that tensorboard finds in a folder
"""
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

START = 1767225600.25


def scalar(tag, step, value, wall_time):
    return Event(wall_time=wall_time, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))


def write(name, events):
    with open(name, "wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())


if len(sys.argv) == 2:
    found = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0}).Reload()
    for tag in found.Tags()["scalars"]:
        for event in found.Scalars(tag):
            print(tag, event.step, event.value, event.wall_time)
    sys.exit()

write(
    "events.out.tfevents.000000.knownset",
    [
        Event(wall_time=START, file_version="brain.Event:2"),
        scalar("loss", 0, 2.5, START + 1),
        scalar("loss", 127, 0.0, START + 2),
        scalar("loss", 128, -1.25, START + 3),
        scalar("accuracy/val", 2**40, 0.1, START + 4),
        scalar("loss/" + "é" * 100, 300, float("inf"), START + 5),
        scalar("huge", 1, 1e300, 0.0),
    ],
)
write(
    "events.out.tfevents.000001.knownset",
    [
        Event(wall_time=START + 6, file_version="brain.Event:2"),
        Event(wall_time=START + 6, step=128, session_log=SessionLog(status=SessionLog.START)),
        scalar("loss", 128, -1.5, START + 7),
    ],
)
