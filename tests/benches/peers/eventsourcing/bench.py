"""Appends for a while with so many writers, each to streams of 20 events; prints appends per second.

Arguments: socket folder, database, user, number of writers, period in milliseconds.
"""
import json
import os
import sys
import threading
import time
import uuid

folder, database, user, writers, period = sys.argv[1:]
os.environ.update(
    PERSISTENCE_MODULE="eventsourcing.postgres",
    POSTGRES_DBNAME=database,
    POSTGRES_HOST=folder,
    POSTGRES_PORT="5432",
    POSTGRES_USER=user,
    POSTGRES_PASSWORD="",
    POSTGRES_POOL_SIZE="16",
    POSTGRES_MAX_OVERFLOW="0",
    POSTGRES_MAX_WAITING="1000",
)
from eventsourcing.persistence import InfrastructureFactory, StoredEvent  # noqa: E402
from eventsourcing.utils import Environment  # noqa: E402

factory = InfrastructureFactory.construct(Environment(name="Bench", env=dict(os.environ)))
recorder = factory.application_recorder()


def run(seconds: float) -> float:
    counts = []
    begun = time.monotonic()

    def write() -> None:
        count = 0
        while time.monotonic() - begun < seconds:
            stream = uuid.uuid4()
            for n in range(20):
                state = json.dumps({"name": f"project {n}"}).encode()
                recorder.insert_events([StoredEvent(stream, n + 1, "Renamed", state)])
                count += 1
                if time.monotonic() - begun >= seconds:
                    break
        counts.append(count)

    threads = [threading.Thread(target=write) for _ in range(int(writers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begun)


run(int(period) / 3000)
print(run(int(period) / 1000))
factory.close()
