"""The lock of python-etcd: one holder at a time, in order of asking, handed over at release and at expiry."""

import sys
import threading
import time

import etcd

PORT = int(sys.argv[1])


def connect():
    return etcd.Client(host="127.0.0.1", port=PORT, read_timeout=30)


# One holder, one who does not wait.
holder, other = etcd.Lock(connect(), "simple"), etcd.Lock(connect(), "simple")
assert holder.acquire(lock_ttl=60) and holder.is_acquired
assert not other.acquire(blocking=False) and not other.is_acquired
holder.release()
assert not holder.is_acquired
assert other.acquire(blocking=False), "the one behind is next"
other.release()

# A lock taken again is renewed and keeps its place.
lock = etcd.Lock(connect(), "again")
assert lock.acquire(lock_ttl=60)
key = lock.lock_key
assert lock.acquire(lock_ttl=600) and lock.lock_key == key
assert connect().read(key).ttl > 500
found = etcd.Lock(connect(), "again")
found.uuid = lock.uuid
assert found.acquire(), "whoever knows the name of the holder is the holder"
lock.release()

# A holder that dies loses the lock when its time is over.
dead, heir = etcd.Lock(connect(), "dead"), etcd.Lock(connect(), "dead")
assert dead.acquire(lock_ttl=2)
began = time.monotonic()
assert heir.acquire(lock_ttl=60)
assert 0.5 <= time.monotonic() - began <= 5, time.monotonic() - began
assert not dead.is_acquired
heir.release()

# Workers that read, then write, without a condition: only the lock keeps the count right.
WORKERS, ROUNDS = 6, 5
connect().write("/counter", 0)
inside, failures = [], []


def work(number):
    client = connect()
    try:
        for _ in range(ROUNDS):
            with etcd.Lock(client, "counter"):
                inside.append(number)
                assert len(inside) == 1, "two are inside"
                count = int(client.read("/counter").value)
                client.write("/counter", count + 1)
                inside.remove(number)
    except BaseException as error:
        failures.append(repr(error))


threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(WORKERS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(40)
    assert not thread.is_alive(), "a worker still waits for the lock"
assert not failures, failures
assert connect().read("/counter").value == str(WORKERS * ROUNDS)
assert list(connect().read("/_locks/counter").children) in ([], [connect().read("/_locks/counter")])
