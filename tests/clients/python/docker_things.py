"""docker-py and what is around containers: files, volumes, networks, disk usage. Arguments: URL, root file system."""

import io
import sys
import tarfile

import docker
from docker import errors

url, rootfs = sys.argv[1:3]
client = docker.DockerClient(base_url=url, version="auto", timeout=60)


def refused(kind, action, *arguments, **more):
    try:
        action(*arguments, **more)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} expected")


client.api.import_image(rootfs, repository="app", tag="latest")

# Volumes.
data = client.volumes.create("data", labels={"a": "b"})
assert data.name == "data" and data.attrs["Labels"] == {"a": "b"}, data.attrs
assert [found.name for found in client.volumes.list(filters={"label": "a=b"})] == ["data"]
refused(errors.NotFound, client.volumes.get, "nothing")

box = client.containers.run(
    "app", "sleep 1000", name="box", detach=True, volumes={"data": {"bind": "/data", "mode": "rw"}}
)
in_use = refused(errors.APIError, data.remove)
assert in_use.response.status_code == 409, in_use

# Files.
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w") as archive:
    entry = tarfile.TarInfo("page")
    entry.size = 5
    archive.addfile(entry, io.BytesIO(b"page\n"))
assert box.put_archive("/data", packed.getvalue())
assert box.exec_run("cat /data/page").output == b"page\n"
pieces, stat = box.get_archive("/data/page")
assert stat["name"] == "page" and stat["size"] == 5, stat
with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
    assert archive.extractfile("page").read() == b"page\n"
refused(errors.NotFound, box.get_archive, "/nothing")
names = tarfile.open(fileobj=io.BytesIO(b"".join(box.export()))).getnames()
assert "bin/busybox" in names, names[:20]

# The disk.
usage = client.df()
assert [volume["Name"] for volume in usage["Volumes"]] == ["data"] and usage["LayersSize"] > 0, usage

# Networks.
inner = client.networks.create("inner", driver="bridge", labels={"n": "1"}, check_duplicate=True)
assert [found.name for found in client.networks.list(names=["inner"])] == ["inner"]
assert {"bridge", "host", "none"} <= {found.name for found in client.networks.list()}
inner.connect(box, aliases=["crate"])
box.reload()
place = box.attrs["NetworkSettings"]["Networks"]["inner"]
assert place["IPAddress"] and "crate" in place["Aliases"], place
inner.reload()
assert [found.id for found in inner.containers] == [box.id]
refused(errors.APIError, inner.remove)
other = client.containers.run("app", ["ping", "-c", "1", "-w", "20", "crate"], network="inner", remove=True)
assert b"1 packets received" in other, other
inner.disconnect(box)
inner.remove()
refused(errors.NotFound, client.networks.get, "inner")
client.networks.create("lonely")
assert client.networks.prune()["NetworksDeleted"] == ["lonely"]

box.remove(force=True)
data.remove()
client.volumes.create("spare")
assert client.volumes.prune(filters={"all": True})["VolumesDeleted"] == ["spare"]
client.close()
