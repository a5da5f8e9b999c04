"""An election with python-etcd: create with a time to live, renew by comparison, watch for the end.

The library's own election module went away with the first major version, so this is the usual recipe.
"""

import sys
import threading
import time

import etcd

PORT = int(sys.argv[1])
KEY = "/election/leader"
TTL = 2
CANDIDATES = 4
terms, failures = [], []


def stand(number):
    """Waits until this candidate leads, leads for two renewals, then dies without a word."""
    client = etcd.Client(host="127.0.0.1", port=PORT, read_timeout=30)
    name = f"candidate-{number}"
    while True:
        try:
            term = client.write(KEY, name, ttl=TTL, prevExist=False)
            break
        except etcd.EtcdAlreadyExist as error:
            index = error.payload["index"] + 1
            while client.watch(KEY, index=index, timeout=30).action not in ("expire", "delete"):
                index += 1
    terms.append((term.modifiedIndex, name))
    index = term.modifiedIndex
    for _ in range(2):
        renewed = client.write(KEY, name, ttl=TTL, prevValue=name, prevIndex=index)
        index = renewed.modifiedIndex


def guarded(number):
    try:
        stand(number)
    except BaseException as error:
        failures.append(f"{number}: {error!r}")


client = etcd.Client(host="127.0.0.1", port=PORT, read_timeout=30)
start = client.read("/").etcd_index + 1
began = time.monotonic()
threads = [threading.Thread(target=guarded, args=(number,), daemon=True) for number in range(CANDIDATES)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(30)
    assert not thread.is_alive(), "a candidate never led"
assert not failures, failures
assert time.monotonic() - began >= (CANDIDATES - 1) * (TTL - 0.5), "a term ended before its time"

# The history tells the same: create, two renewals, expiry, again and again, each by the same name.
expected = sorted(terms)
assert len({name for _, name in expected}) == CANDIDATES, expected
index = start
for term, name in expected:
    actions = []
    for _ in range(4):
        event = client.watch(KEY, index=index, timeout=10)
        actions.append(event.action)
        assert event.createdIndex == term, event
        assert (event._prev_node if event.action == "expire" else event).value == name, event
        index = event.modifiedIndex + 1
    assert actions == ["create", "compareAndSwap", "compareAndSwap", "expire"], actions
