// The watcher: events of every kind in order, from an index, across its own polls, after a loss of history; and a
// stream of events over one answer.
"use strict";

const assert = require("assert");
const Etcd = require("node-etcd");

const etcd = new Etcd(process.argv[2]);

function ask(name, ...rest) {
  return new Promise((resolve, reject) => {
    etcd[name](...rest, (error, body) => (error ? reject(error) : resolve(body)));
  });
}

// Waits for a condition, with a deadline.
async function until(what, condition) {
  const deadline = Date.now() + 15000;
  for (;;) {
    if (await condition()) return;
    assert(Date.now() < deadline, `waited too long for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function watches() {
  return (await ask("raw", "GET", "v2/stats/store", null, {})).watchers;
}

function follow(key, index, options) {
  const seen = [];
  const watcher = etcd.watcher(key, index, options);
  watcher.on("change", (event) => seen.push([event.action, event.node.key, event.node.value]));
  watcher.on("error", (error) => seen.push(["error", String(error), undefined]));
  watcher.on("reconnect", (error) => seen.push(["reconnect", String(error.error), undefined]));
  return { seen, watcher };
}

async function everyKindOfEvent() {
  const before = await watches();
  const { seen, watcher } = follow("tree", null, { recursive: true });
  const deletes = [];
  watcher.on("delete", (event) => deletes.push(event.prevNode.value));
  await until("the watch", async () => (await watches()) > 0);
  await ask("set", "tree/a", "1");
  await ask("set", "beside", "1");
  await ask("compareAndSwap", "tree/a", "2", "1");
  await ask("set", "tree/b", "1", { prevExist: false });
  await ask("set", "tree/a", "3", { prevExist: true });
  await ask("del", "tree/a");
  await ask("compareAndDelete", "tree/b", "1");
  await ask("set", "tree/short", "1", { ttl: 1 });
  const expected = [
    ["set", "/tree/a", "1"],
    ["compareAndSwap", "/tree/a", "2"],
    ["create", "/tree/b", "1"],
    ["update", "/tree/a", "3"],
    ["delete", "/tree/a", undefined],
    ["compareAndDelete", "/tree/b", undefined],
    ["set", "/tree/short", "1"],
    ["expire", "/tree/short", undefined],
  ];
  await until("all events", () => seen.length >= expected.length);
  assert.deepStrictEqual(seen, expected);
  assert.deepStrictEqual(deletes, ["3"]);
  watcher.stop();
}

async function fromThePast() {
  const first = (await ask("set", "past", "0")).node.modifiedIndex;
  for (let number = 1; number < 50; number += 1) await ask("set", "past", String(number));
  const { seen, watcher } = follow("past", first);
  await until("fifty events of the past", () => seen.length >= 50);
  await ask("set", "past", "50");
  await until("one of the present", () => seen.length >= 51);
  assert.deepStrictEqual(seen.map((event) => Number(event[2])), [...Array(51).keys()]);
  watcher.stop();
}

async function afterALoss() {
  const first = (await ask("set", "lost", "0")).node.modifiedIndex;
  for (let batch = 0; batch < 11; batch += 1) {
    await Promise.all([...Array(100).keys()].map((number) => ask("set", `fill/${number}`, "v")));
  }
  const { seen, watcher } = follow("lost", first);
  let resync = null;
  watcher.on("resync", (error) => { resync = error; });
  await until("the word that the history is gone", () => resync !== null);
  assert.strictEqual(resync.errorCode, 401);
  await ask("set", "lost", "1");
  await until("an event after that", () => seen.length >= 1);
  assert.deepStrictEqual(seen, [["set", "/lost", "1"]]);
  watcher.stop();
}

async function aStream() {
  await until("the end of earlier watches", async () => (await watches()) === 0);
  const token = etcd.raw("GET", "v2/keys/stream", null, { wait: true, stream: true, recursive: true }, () => null);
  let text = "";
  token.req.on("data", (data) => { text += data; });
  await until("the stream", async () => (await watches()) > 0);
  for (const value of ["1", "2", "3"]) await ask("set", `stream/${value}`, value);
  await until("three events", () => text.split("\n").length > 3);
  const values = text.trim().split("\n").map((line) => JSON.parse(line).node.value);
  assert.deepStrictEqual(values, ["1", "2", "3"]);
  token.abort();
  await until("the end of the stream's watch", async () => (await watches()) === 0);
}

async function main() {
  await everyKindOfEvent();
  await fromThePast();
  await afterALoss();
  await aStream();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
