"""docker-py and containers: images, life cycles, streams, statistics, error classes. Arguments: URL, root file system."""

import sys
import threading
import time

import docker
from docker import errors

url, rootfs = sys.argv[1:3]
began = int(time.time()) - 1
client = docker.DockerClient(base_url=url, version="auto", timeout=60)


def refused(kind, action, *arguments, **more):
    try:
        action(*arguments, **more)
    except kind as error:
        assert type(error) is kind, error
        return str(error)
    raise AssertionError(f"{kind.__name__} expected")


# The daemon.
assert client.ping()
version = client.version()
assert version["ApiVersion"] == "1.44" and version["Os"] == "linux", version
assert client.info()["OSType"] == "linux"
assert client.api.api_version == "1.44", client.api.api_version

# Images.
client.api.import_image(rootfs, repository="app", tag="latest")
image = client.images.get("app")
assert "app:latest" in image.tags, image.tags
assert image.tag("other", "1") and client.images.get("other:1").id == image.id
assert image.id in [found.id for found in client.images.list()]
client.images.remove("other:1")
refused(errors.ImageNotFound, client.images.get, "nothing")
refused(errors.ImageNotFound, client.containers.create, "nothing", "true")

# run is create, start, logs, wait, remove.
assert client.containers.run("app", ["echo", "hi"], remove=True) == b"hi\n"
failed = None
try:
    client.containers.run("app", ["sh", "-c", "echo why >&2; exit 3"], remove=True)
except errors.ContainerError as error:
    failed = error
assert failed.exit_status == 3 and failed.stderr == b"why\n", failed
said = refused(errors.APIError, client.containers.run, "app", "nosuch", remove=True)
assert "executable file not found" in said, said

# A life.
box = client.containers.create(
    "app",
    ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done; exec sleep 1000"],
    name="box",
    labels={"tier": "web", "odd": 'a "b"=\u00e9'},
    environment={"A": "1"},
    mem_limit="64m",
    healthcheck=None,
)
assert box.status == "created" and box.name == "box"
box.start()
box.reload()
assert box.status == "running" and box.labels == {"tier": "web", "odd": 'a "b"=\u00e9'}, box.labels
assert box.attrs["HostConfig"]["Memory"] == 64 << 20
conflict = refused(errors.APIError, client.containers.create, "app", "true", name="box")
assert "already in use" in conflict, conflict
refused(errors.NotFound, client.containers.get, "nobody")
assert [found.name for found in client.containers.list()] == ["box"]
assert [found.name for found in client.containers.list(all=True, filters={"label": ["tier=web"]})] == ["box"]
assert client.containers.list(all=True, limit=-1, filters={"status": "exited"}) == []

# Logs: whole, following, with times.
lines = []
for line in box.logs(stream=True, follow=True):
    lines.append(line)
    if len(b"".join(lines).splitlines()) == 3:
        break
assert b"".join(lines) == b"1\n2\n3\n", lines
assert box.logs(tail=1) == b"3\n"
stamped = box.logs(timestamps=True, tail=1)
assert stamped.startswith(b"20") and stamped.endswith(b"Z 3\n"), stamped
assert box.logs(since=4102444800) == b""

# exec in all its ways.
code, output = box.exec_run(["sh", "-c", "echo $A; echo err >&2; exit 5"])
assert (code, output) == (5, b"1\nerr\n"), (code, output)
code, output = box.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True)
assert output == (b"out\n", b"err\n"), output
stream = box.exec_run(["sh", "-c", "echo a; echo b"], stream=True).output
assert b"".join(stream) == b"a\nb\n"
assert b"tty" in box.exec_run(["sh", "-c", "test -t 1 && echo tty"], tty=True).output
assert box.exec_run("id -u", user="app").output == b"1000\n"
made = client.api.exec_create(box.id, "cat", stdin=True)
socket = client.api.exec_start(made["Id"], socket=True)
raw = getattr(socket, "_sock", socket)
raw.sendall(b"over a socket\n")
heard = b""
while b"socket\n" not in heard:
    heard += raw.recv(4096)
raw.close()
assert client.api.exec_inspect(made["Id"])["ProcessConfig"]["entrypoint"] == "cat"
refused(errors.NotFound, client.api.exec_inspect, "0" * 64)

# attach, before the start and with input.
echo = client.containers.create("app", "cat", stdin_open=True, name="echo")
pipe = echo.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
echo.start()
raw = getattr(pipe, "_sock", pipe)
raw.sendall(b"hello\n")
heard = b""
while b"hello\n" not in heard:
    heard += raw.recv(4096)
raw.close()
echo.kill(9)
assert echo.wait(timeout=60)["StatusCode"] == 137
seen = client.containers.create("app", ["echo", "seen"], name="seen")
attached = seen.attach(stream=True, logs=True)
seen.start()
assert b"".join(attached) == b"seen\n"
assert seen.wait()["StatusCode"] == 0

# Looks.
top = box.top()
assert "PID" in top["Titles"] and any("sleep 1000" in " ".join(row) for row in top["Processes"]), top
stats = box.stats(stream=False)
assert stats["memory_stats"]["usage"] > 0 and stats["name"] == "/box", stats
several = box.stats(stream=True, decode=True)
assert next(several)["read"] < next(several)["read"]
several.close()
assert any(change["Path"] == "/tmp/new" for change in (box.exec_run("touch /tmp/new"), box.diff())[1])

# Changes.
box.update(mem_limit="80m", memswap_limit="160m")
box.reload()
assert box.attrs["HostConfig"]["Memory"] == 80 << 20
box.rename("crate")
assert client.containers.get("crate").id == box.id
box.pause()
box.reload()
assert box.status == "paused"
box.unpause()
box.restart(timeout=0)
made = box.commit(repository="made", tag="1", conf={"Cmd": ["echo", "made"]})
assert client.containers.run("made:1", remove=True) == b"made\n"

# Events of all this.
told = client.events(since=began, decode=True, filters={"container": box.id})
actions = []
for event in told:
    actions.append(event["Action"])
    if "rename" in actions and "commit" in actions:
        break
told.close()
assert actions[0] == "create" and "start" in actions, actions

# A client that listens hears what happens now.
news = client.events(decode=True, filters={"event": ["die"]})
dying = threading.Thread(target=lambda: client.containers.get("crate").stop(timeout=0))
dying.start()
heard = next(news)
dying.join()
news.close()
assert heard["Actor"]["Attributes"]["name"] == "crate", heard
assert box.wait()["StatusCode"] == 137

# The end.
pruned = client.containers.prune()
assert box.id in pruned["ContainersDeleted"] and pruned["SpaceReclaimed"] >= 0, pruned
refused(errors.NotFound, box.reload)
assert client.containers.list(all=True) == []
client.images.remove("made:1")
client.images.prune(filters={"dangling": True})
client.close()
