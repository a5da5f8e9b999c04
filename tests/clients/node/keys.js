// Keys, directories, conditions, times to live and views of the server, with callbacks and in the blocking form.
"use strict";

const assert = require("assert");
const Etcd = require("node-etcd");

const etcd = new Etcd(process.argv[2], { timeout: 10000 });

function ask(name, ...rest) {
  return new Promise((resolve, reject) => {
    etcd[name](...rest, (error, body, headers) => (error ? reject(error) : resolve({ body, headers })));
  });
}

async function refused(code, name, ...rest) {
  const error = await ask(name, ...rest).then(
    (answer) => assert.fail(`${name} ${rest} was not refused: ${JSON.stringify(answer.body)}`),
    (error) => error,
  );
  assert.strictEqual(error.errorCode, code, `${name} ${rest}: ${error}`);
  return error;
}

async function main() {
  const made = await ask("set", "/key", "värde & more");
  assert.strictEqual(made.body.action, "set");
  const index = made.body.node.modifiedIndex;
  assert.strictEqual(Number(made.headers["x-etcd-index"]), index);
  assert(Number(made.headers["x-raft-index"]) >= index && Number(made.headers["x-raft-term"]) >= 1);
  assert.strictEqual((await ask("get", "key")).body.node.value, "värde & more");
  assert.strictEqual((await ask("get", "key", { quorum: true })).body.node.value, "värde & more");
  const missing = await refused(100, "get", "none/below");
  assert.deepStrictEqual(
    [missing.message, missing.error.cause, missing.error.index],
    ["Key not found", "/none", index],
  );

  const swapped = await ask("compareAndSwap", "key", "two", "värde & more");
  assert.strictEqual(swapped.body.action, "compareAndSwap");
  assert.strictEqual(swapped.body.prevNode.value, "värde & more");
  await refused(101, "testAndSet", "key", "three", "värde & more");
  await refused(101, "set", "key", "three", { prevIndex: index });
  await ask("set", "key", "three", { prevIndex: swapped.body.node.modifiedIndex });
  await refused(105, "set", "key", "four", { prevExist: false });
  await refused(101, "compareAndDelete", "key", "two");
  assert.strictEqual((await ask("testAndDelete", "key", "three")).body.action, "compareAndDelete");
  await refused(100, "del", "key");

  await ask("mkdir", "dir");
  await refused(102, "mkdir", "dir");
  await ask("set", "dir/b", "1");
  await ask("set", "dir/a/c", "2");
  const tree = (await ask("get", "dir", { recursive: true, sorted: true })).body.node;
  assert.deepStrictEqual([tree.dir, tree.nodes.map((node) => node.key)], [true, ["/dir/a", "/dir/b"]]);
  assert.strictEqual(tree.nodes[0].nodes[0].value, "2");
  await refused(108, "rmdir", "dir");
  assert.strictEqual((await ask("rmdir", "dir", { recursive: true })).body.node.dir, true);
  await ask("set", "file", "v");
  await refused(104, "set", "file/below", "v");

  const queue = [];
  for (const value of ["first", "second", "third"]) {
    queue.push((await ask("create", "queue", value)).body.node.key);
  }
  assert.deepStrictEqual([...queue].sort(), queue);
  const listed = (await ask("get", "queue", { sorted: true })).body.node.nodes;
  assert.deepStrictEqual(listed.map((node) => node.value), ["first", "second", "third"]);

  const lease = (await ask("set", "lease", "v", { ttl: 100 })).body.node;
  assert(lease.ttl > 90 && lease.ttl <= 100 && !Number.isNaN(Date.parse(lease.expiration)));

  assert.strictEqual((await ask("selfStats")).body.state, "StateLeader");
  assert.strictEqual(typeof (await ask("leaderStats")).body.leader, "string");
  assert.match((await ask("version")).body.etcdserver, /^\d+\.\d+\.\d+/);
  const raw = await ask("raw", "PUT", "v2/keys/raw", "value", { ttl: 50 });
  assert.strictEqual(raw.body.node.ttl, 50);

  // The blocking form of the same requests.
  assert.strictEqual(etcd.setSync("blocking", "v").body.action, "set");
  assert.strictEqual(etcd.getSync("blocking").body.node.value, "v");
  assert.strictEqual(etcd.getSync("nothing").err.errorCode, 100);
  assert.strictEqual(etcd.mkdirSync("folder").body.node.dir, true);
  assert.strictEqual(etcd.rmdirSync("folder").body.action, "delete");
  assert.strictEqual(etcd.delSync("blocking").body.action, "delete");
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
