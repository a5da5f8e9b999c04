"""Keys, directories, keys in order, conditions, times to live and views of the cluster."""

import sys

import etcd

client = etcd.Client(host="127.0.0.1", port=int(sys.argv[1]))

# One key through its life.
made = client.write("/a", "1", prevExist=False)
assert made.action == "create" and made.newKey, made
again = client.set("/a", "2")
assert again.action == "set" and again._prev_node.value == "1", again
assert again.createdIndex == again.modifiedIndex > made.modifiedIndex
read = client.get("/a")
assert read.value == "2" and read.modifiedIndex == again.modifiedIndex
assert read.etcd_index >= read.modifiedIndex and read.raft_index >= read.etcd_index
assert "/a" in client and "/b" not in client
assert client.read("/a", quorum=True).value == "2"
assert client.pop("/a").value == "2"
assert "/a" not in client

# Text of every kind comes back as it went in.
for text in ["", " ", "ä€𝄞", "a=b&c=d;e+f%20", "line\nline\ttab\x01", '{"json": [1, "<&>"]}', "x" * 200_000]:
    client.write("/text", text)
    assert client.read("/text").value == text, text[:20]
for name in ["with space", "plus+percent%", "quéry?x=1#y", "semi;colon:and,comma", "a" * 300]:
    client.write("/names/" + name, name)
    assert client.read("/names/" + name).value == name, name

# Conditions by value and by index.
client.write("/cas", "one")
swapped = client.test_and_set("/cas", "two", "one")
assert swapped.action == "compareAndSwap" and swapped.createdIndex < swapped.modifiedIndex
client.write("/cas", "three", prevIndex=swapped.modifiedIndex)
node = client.read("/cas")
node.value = "four"
updated = client.update(node)
assert client.read("/cas").value == "four"
assert client.delete("/cas", prevValue="four").action == "compareAndDelete"

# Directories, recursion and order.
client.write("/dir", None, dir=True)
assert client.read("/dir").dir
for name in ["c", "a", "b/y", "b/x", "_hidden"]:
    client.write("/dir/" + name, name)
listed = [child.key for child in client.read("/dir", sorted=True).children]
assert listed == ["/dir/a", "/dir/b", "/dir/c"], listed
leaves = [(leaf.key, leaf.value) for leaf in client.read("/dir", recursive=True, sorted=True).leaves]
assert leaves == [("/dir/a", "a"), ("/dir/b/x", "b/x"), ("/dir/b/y", "b/y"), ("/dir/c", "c")], leaves
assert client.read("/dir/_hidden").value == "_hidden"
gone = client.delete("/dir", recursive=True)
assert gone.action == "delete" and gone.dir
client.write("/empty", None, dir=True)
client.delete("/empty", dir=True)
assert "/empty" not in client

# Keys in order.
keys = [client.write("/queue", str(number), append=True).key for number in range(12)]
assert keys == sorted(keys) and len(set(keys)) == 12
values = [child.value for child in client.read("/queue", sorted=True).children]
assert values == [str(number) for number in range(12)], values

# Times to live.
kept = client.write("/lease", "v", ttl=100)
assert 98 <= kept.ttl <= 100 and kept.expiration
renewed = client.refresh("/lease", 200)
assert 198 <= renewed.ttl <= 200 and client.read("/lease").value == "v"
client.write("/lease", "v")
assert client.read("/lease").ttl is None

# The cluster.
assert len(client.machines) >= 1 and client.machines[0].startswith("http://127.0.0.1:")
members = client.members
assert len(members) == 1, members
assert client.leader["id"] in members
assert client.leader["clientURLs"] == [f"http://127.0.0.1:{sys.argv[1]}"], client.leader
assert client.stats["state"] == "StateLeader", client.stats
assert client.leader_stats["leader"] == client.leader["id"]
assert client.store_stats["setsSuccess"] > 0
assert int(client.version.split(".")[0]) >= 2 and client.cluster_version.count(".") == 2
