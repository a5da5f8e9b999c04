"""Long polls from now and from the past, whole trees, endless watches, expiry, and a history that is gone."""

import sys
import threading
import time

import etcd

PORT = int(sys.argv[1])


def connect():
    return etcd.Client(host="127.0.0.1", port=PORT, read_timeout=30)


client = connect()


def later(call):
    """Starts `call` and returns what it gave when it has ended."""
    result = []
    thread = threading.Thread(target=lambda: result.append(call()), daemon=True)
    before = client.store_stats["watchers"]
    thread.start()
    deadline = time.monotonic() + 10
    while client.store_stats["watchers"] <= before:
        assert time.monotonic() < deadline, "the watch did not begin"
        time.sleep(0.01)

    def wait():
        thread.join(15)
        assert result, "the watch did not end"
        return result[0]

    return wait


# From now on: what was before does not count, nor what is beside it.
client.write("/w", "old")
wait = later(lambda: connect().watch("/w"))
client.write("/w2", "beside")
client.write("/w", "new")
event = wait()
assert (event.action, event.value, event._prev_node.value) == ("set", "new", "old"), event

# From an index: the past is told in order.
first = client.write("/w", "1").modifiedIndex
client.write("/x", "1")
client.write("/w", "2")
client.delete("/w")
assert client.watch("/w", index=first).value == "1"
assert client.watch("/w", index=first + 1).value == "2"
assert client.watch("/w", index=first + 3).action == "delete"

# A whole tree, also when what is watched is deleted with a parent.
wait = later(lambda: connect().watch("/tree", recursive=True))
client.write("/tree/deep/down", "v")
assert wait().key == "/tree/deep/down"
wait = later(lambda: connect().watch("/tree/deep/down"))
client.delete("/tree", recursive=True)
event = wait()
assert event.action == "delete" and event.key in ("/tree/deep/down", "/tree"), event

# An endless watch misses nothing between its polls.
start = client.read("/").etcd_index + 1
seen = []


def follow():
    for event in connect().eternal_watch("/many", index=start, recursive=True):
        seen.append((event.key, event.value))
        if len(seen) == 100:
            return True


wait = later(follow)
for number in range(100):
    client.write(f"/many/{number}", number)
wait()
assert seen == [(f"/many/{number}", str(number)) for number in range(100)], seen

# Expiry is an event.
wait = later(lambda: connect().watch("/lease", index=client.read("/").etcd_index + 2))
began = time.monotonic()
client.write("/lease", "v", ttl=1)
event = wait()
assert event.action == "expire" and event._prev_node.value == "v", event
assert 0.5 <= time.monotonic() - began <= 4, time.monotonic() - began

# A watch that reaches too far back says so.
for number in range(1_001):
    client.write("/fill", number)
try:
    client.watch("/w", index=1)
except etcd.EtcdEventIndexCleared as error:
    assert error.payload["errorCode"] == 401
    assert "the requested history has been cleared" in error.payload["cause"], error.payload
else:
    raise AssertionError("the history must be gone")
