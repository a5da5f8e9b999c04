"""Each error that a client can cause, as the class that python-etcd makes of it."""

import sys

import etcd

client = etcd.Client(host="127.0.0.1", port=int(sys.argv[1]))


def raises(kind, call, *arguments, code=None, cause=None, **options):
    try:
        call(*arguments, **options)
    except etcd.EtcdException as error:
        assert type(error) is kind, (kind, type(error), error)
        if code is not None:
            assert error.payload["errorCode"] == code, error.payload
            assert error.payload["cause"] == cause, error.payload
        return
    raise AssertionError(f"{call.__name__}{arguments}{options} did not raise {kind.__name__}")


client.write("/file", "v")
client.write("/dir/child", "v")
index = client.read("/file").modifiedIndex

raises(etcd.EtcdKeyNotFound, client.read, "/no/such/key", code=100, cause="/no")
raises(etcd.EtcdKeyNotFound, client.delete, "/none", code=100, cause="/none")
raises(etcd.EtcdKeyNotFound, client.write, "/none", "v", prevExist=True, code=100, cause="/none")
raises(etcd.EtcdKeyNotFound, client.refresh, "/none", 5, code=100, cause="/none")
raises(etcd.EtcdKeyNotFound, client.write, "/none", "v", prevValue="x", code=100, cause="/none")
raises(etcd.EtcdCompareFailed, client.write, "/file", "w", prevValue="x", code=101, cause="[x != v]")
raises(etcd.EtcdCompareFailed, client.write, "/file", "w", prevIndex=1, code=101, cause=f"[1 != {index}]")
raises(
    etcd.EtcdCompareFailed,
    client.write,
    "/file",
    "w",
    prevIndex=1,
    prevValue="x",
    code=101,
    cause=f"[x != v] [1 != {index}]",
)
raises(etcd.EtcdCompareFailed, client.delete, "/file", prevValue="x", code=101, cause="[x != v]")
raises(etcd.EtcdNotFile, client.write, "/dir", "v", code=102, cause="/dir")
raises(etcd.EtcdNotFile, client.delete, "/dir", code=102, cause="/dir")
raises(etcd.EtcdNotDir, client.write, "/file/below", "v", code=104, cause="/file")
raises(etcd.EtcdNotDir, client.write, "/file", "v", append=True, code=104, cause="/file")
raises(etcd.EtcdAlreadyExist, client.write, "/file", "v", prevExist=False, code=105, cause="/file")
raises(etcd.EtcdRootReadOnly, client.write, "/", "v", code=107, cause="/")
raises(etcd.EtcdRootReadOnly, client.delete, "/", recursive=True, code=107, cause="/")
raises(etcd.EtcdDirNotEmpty, client.delete, "/dir", dir=True, code=108, cause="/dir")
raises(etcd.EtcdValueError, client.write, "/file", "v", ttl="soon", code=202, cause='invalid value for "ttl"')
raises(
    etcd.EtcdValueError,
    client.write,
    "/file",
    "v",
    prevIndex="x",
    code=203,
    cause='invalid value for "prevIndex"',
)
raises(etcd.EtcdWatchTimedOut, client.watch, "/file", timeout=1)

# Nothing of all this has changed anything.
assert client.read("/file").modifiedIndex == index
assert client.read("/file").etcd_index == index + 1
