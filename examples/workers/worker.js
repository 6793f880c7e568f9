// A worker of a Snakepit pool in JavaScript: Node alone, no packages. What it says and hears is docs/wire.md; the guide is
// docs/guide-other-languages.md.
//
//   snakepit worker-check -- node worker.js
//
// A tool is a function of a call and its arguments, plain, async or an async generator; a generator streams. One call is served at a time, but Node
// goes on reading its socket meanwhile: so a call can be cancelled, and a tool of the host may call back while this worker waits for it.
//
// Values: nil null, bool, int a number (a BigInt beyond 2^53), float a number, or a Float where it would look like an int, str a string, bytes a Buffer,
// list an array, map a Map; every other kind is an Ext, which keeps its bytes.
// Exit status: 0 after STOP or when the host has gone, 1 when the host breaks the protocol, 2 when no host has started it.
"use strict";
const fs = require("node:fs");
const net = require("node:net");

const KIND = {
  HELLO: 1, WELCOME: 2, READY: 3, STOP: 5, CALL: 16, RESULT: 17, ERROR: 18, CANCEL: 19, STREAM_CALL: 24, CHUNK: 25, CREDIT: 26,
  SEND: 27, SEND_END: 28, TOOL_CALL: 32, TOOL_RESULT: 33, TOOL_ERROR: 34, TOOL_LIST: 35, PING: 48, PONG: 49,
};
const [WITH_FIELDS, TIMED, FINAL, NESTED, KNOWN_FLAGS] = [1, 2, 4, 8, 15];
const [HEADER, FIELD_STREAM, WITH_INBOX, DEPTH] = [24, 7, 1, 128];
const [TUPLE, ARGS] = [2, 3];
const LONG_HEAD = new Set([2, 3, 4, 5, 6, 13, 16, 17]); // extensions whose length is always written in 32 bits

function die(why) {
  console.error(`worker: ${why}`);
  process.exit(1);
}

// ---- values ----

/** A float that JavaScript would take for an int, or a NaN, with all of its bits. */
class Float {
  constructor(bytes) {
    this.bytes = Buffer.from(bytes);
  }

  valueOf() {
    return this.bytes.readDoubleBE(0);
  }
}

class Ext {
  constructor(code, data) {
    this.code = code;
    this.data = data;
  }
}

/** What is told to the host as an ERROR. */
class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

function number(value) {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

class Reader {
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  bytes(n) {
    if (n > this.data.length - this.at) throw new Failure("deserialization_failed", "a value that is cut");
    this.at += n;
    return this.data.subarray(this.at - n, this.at);
  }

  uint(n) {
    return Number(this.bytes(n).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n));
  }

  text(n) {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.bytes(n));
    } catch (error) {
      throw error instanceof Failure ? error : new Failure("invalid_utf8", "a text that is no UTF-8");
    }
  }

  items(n, depth) {
    if (n > this.data.length - this.at || depth === 0)
      throw new Failure(depth === 0 ? "limit_exceeded" : "deserialization_failed", "more items than there can be");
    return Array.from({ length: n }, () => this.value(depth - 1));
  }

  map(n, depth) {
    const items = this.items(2 * n, depth);
    const found = new Map();
    for (let i = 0; i < items.length; i += 2) found.set(items[i], items[i + 1]);
    return found;
  }

  ext(n) {
    const code = this.uint(1);
    return new Ext(code, this.bytes(n));
  }

  float(bytes) {
    const value = bytes.readDoubleBE(0);
    return Number.isInteger(value) || Number.isNaN(value) ? new Float(bytes) : value;
  }

  single() {
    const wide = Buffer.alloc(8);
    wide.writeDoubleBE(this.bytes(4).readFloatBE(0));
    return this.float(wide);
  }

  value(depth = DEPTH) {
    const first = this.uint(1);
    if (first < 0x80) return first;
    if (first < 0x90) return this.map(first & 15, depth);
    if (first < 0xa0) return this.items(first & 15, depth);
    if (first < 0xc0) return this.text(first & 31);
    if (first >= 0xe0) return first - 256;
    return this.long(first, depth);
  }

  long(first, depth) {
    const size = (base) => 1 << (first - base);
    switch (true) {
      case first === 0xc0: return null;
      case first === 0xc2 || first === 0xc3: return first === 0xc3;
      case first >= 0xc4 && first <= 0xc6: return Buffer.from(this.bytes(this.uint(size(0xc4))));
      case first >= 0xc7 && first <= 0xc9: return this.ext(this.uint(size(0xc7)));
      case first === 0xca: return this.single();
      case first === 0xcb: return this.float(this.bytes(8));
      case first >= 0xcc && first <= 0xcf: return number(this.whole(size(0xcc)));
      case first >= 0xd0 && first <= 0xd3: return number(BigInt.asIntN(8 * size(0xd0), this.whole(size(0xd0))));
      case first >= 0xd4 && first <= 0xd8: return this.ext(size(0xd4));
      case first >= 0xd9 && first <= 0xdb: return this.text(this.uint(size(0xd9)));
      case first === 0xdc || first === 0xdd: return this.items(this.uint(2 * size(0xdc)), depth);
      case first === 0xde || first === 0xdf: return this.map(this.uint(2 * size(0xde)), depth);
      default: throw new Failure("deserialization_failed", "a byte that begins no value");
    }
  }

  whole(n) {
    return this.bytes(n).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  }
}

/** A first byte, and a number of so many bytes. */
function head(first, value, bytes) {
  const out = Buffer.alloc(1 + bytes);
  out[0] = first;
  for (let i = bytes, rest = BigInt.asUintN(64, BigInt(value)); i > 0; i--, rest >>= 8n) out[i] = Number(rest & 255n);
  return out;
}

/** The head of what has a length: short forms up to `most`, then those of 1 (if there is one), 2 and 4 bytes. */
function sized(short, most, long, n, smallest) {
  if (n <= most) return head(short | n, 0, 0);
  const size = smallest === 1 && n < 256 ? 1 : n < 65536 ? 2 : 4;
  return head(long + Math.log2(size / smallest), n, size);
}

function encodeInt(value) {
  if (value >= -32 && value < 128) return head(Number(value) & 255, 0, 0);
  const n = BigInt(value);
  for (const [log, size] of [[0, 1], [1, 2], [2, 4], [3, 8]]) {
    if (n >= 0n ? n < 1n << BigInt(8 * size) : n >= -(1n << BigInt(8 * size - 1))) return head((n >= 0n ? 0xcc : 0xd0) + log, n, size);
  }
  throw new Failure("serialization_failed", "an integer of more than 64 bits");
}

function encodeFloat(value) {
  const out = Buffer.alloc(9, 0xcb);
  out.writeDoubleBE(value, 1);
  return out;
}

function encodeExt(value) {
  const n = value.data.length;
  const fixed = [1, 2, 4, 8, 16].indexOf(n);
  let start;
  if (LONG_HEAD.has(value.code)) start = head(0xc9, n, 4);
  else if (fixed >= 0) start = head(0xd4 + fixed, 0, 0);
  else start = sized(0, -1, 0xc7, n, 1);
  return Buffer.concat([start, Buffer.from([value.code]), value.data]);
}

function encode(value) {
  if (value === null || value === undefined) return head(0xc0, 0, 0);
  if (typeof value === "boolean") return head(value ? 0xc3 : 0xc2, 0, 0);
  if (typeof value === "bigint" || Number.isInteger(value)) return encodeInt(value);
  if (typeof value === "number") return encodeFloat(value);
  if (value instanceof Float) return Buffer.concat([head(0xcb, 0, 0), value.bytes]);
  if (value instanceof Ext) return encodeExt(value);
  if (Buffer.isBuffer(value)) return Buffer.concat([sized(0, -1, 0xc4, value.length, 1), value]);
  if (Array.isArray(value)) return Buffer.concat([sized(0x90, 15, 0xdc, value.length, 2), ...value.map(encode)]);
  if (value instanceof Map)
    return Buffer.concat([sized(0x80, 15, 0xde, value.size, 2), ...[...value].flatMap(([key, item]) => [encode(key), encode(item)])]);
  if (typeof value === "string") {
    const text = Buffer.from(value, "utf8");
    return Buffer.concat([sized(0xa0, 31, 0xd9, text.length, 1), text]);
  }
  return encode(new Map(Object.entries(value)));
}

// ---- frames ----

let socket;
let maxFrame = 64 << 20;

function send(kind, id, payload = Buffer.alloc(0), flags = 0, stamp = 0n) {
  const frame = Buffer.alloc(HEADER + payload.length);
  frame[0] = 1;
  frame[1] = kind;
  frame.writeUInt16LE(flags, 2);
  frame.writeUInt32LE(frame.length, 4);
  frame.writeBigUInt64LE(id, 8);
  frame.writeBigUInt64LE(stamp, 16);
  payload.copy(frame, HEADER);
  socket.write(frame);
  return frame.length;
}

function parse(data) {
  const frame = { kind: data[1], flags: data.readUInt16LE(2), id: data.readBigUInt64LE(8), stamp: data.readBigUInt64LE(16), size: data.length };
  let start = HEADER;
  frame.fields = new Map();
  if (frame.flags & ~KNOWN_FLAGS) die("the host broke the protocol: unknown flags");
  if (frame.flags & WITH_FIELDS) {
    const end = data.length >= HEADER + 4 ? HEADER + 4 + data.readUInt32LE(HEADER) : Infinity;
    if (end > data.length) die("the host broke the protocol: fields that do not fit");
    for (let at = HEADER + 4; at + 4 <= end; ) {
      const from = at + 4;
      at = from + (data[at + 1] << 16) + data.readUInt16LE(at + 2);
      if (at <= end && !frame.fields.has(data[from - 4])) frame.fields.set(data[from - 4], data.subarray(from, at));
    }
    start = end;
  }
  frame.payload = data.subarray(start);
  return frame;
}

let parts = []; // what has been read of frames that are not whole
let have = 0;

function receive(data) {
  parts.push(data);
  have += data.length;
  if (parts.length > 1 && have >= HEADER && parts[0].length >= HEADER && have < parts[0].readUInt32LE(4)) return; // not yet
  let all = Buffer.concat(parts);
  while (all.length > 0) {
    if (all[0] === 0) {
      all = all.subarray(1); // a bell
      continue;
    }
    if (all[0] !== 1) die("the host broke the protocol: an unknown version");
    if (all.length < HEADER) break;
    const size = all.readUInt32LE(4);
    if (size < HEADER || size > maxFrame) die("the host broke the protocol: a frame of a bad size");
    if (all.length < size) break;
    handle(parse(all.subarray(0, size)));
    all = all.subarray(size);
  }
  parts = all.length > 0 ? [all] : [];
  have = all.length;
}

// ---- calls ----

const running = []; // calls; the last one is served: they nest while a tool of the host works for one
let lastAsked = 0n;
let asked = new Map(); // numbers of TOOL_CALLs to what takes the answers

/** A call that runs: what its tool may use. */
class Call {
  constructor(frame) {
    this.id = frame.id;
    this.streams = frame.kind === KIND.STREAM_CALL;
    this.cancelled = false;
    this.asks = false;
    this.inbox = [];
    this.inboxOpen = false;
    this.taken = [0, 0];
    this.wakers = new Set();
    if (this.streams) {
      const window = frame.fields.get(FIELD_STREAM);
      if (window === undefined || window.length !== 16) die("the host broke the protocol: a STREAM_CALL without its window");
      this.window = [window.readUInt32LE(0), Number(window.readBigUInt64LE(8))];
      [this.chunks, this.bytes] = this.window;
      this.inboxOpen = (window.readUInt32LE(4) & WITH_INBOX) !== 0;
    }
  }

  /** Something has come for it. */
  wake() {
    for (const waker of [...this.wakers]) waker();
  }

  check() {
    if (this.cancelled) throw new Failure("cancelled", "the call was cancelled");
  }

  /** Until condition() is true; the call's cancellation ends the wait. */
  async until(condition) {
    for (this.check(); !condition(); this.check())
      await new Promise((resolve) => {
        const waker = () => {
          this.wakers.delete(waker);
          resolve();
        };
        this.wakers.add(waker);
      });
  }

  async sleep(ms) {
    let over = false;
    const timer = setTimeout(() => {
      over = true;
      this.wake();
    }, ms);
    try {
      await this.until(() => over);
    } finally {
      clearTimeout(timer);
    }
  }

  /** One chunk, as soon as there is credit for it. */
  async chunk(value, final = false) {
    const payload = encode(value);
    await this.until(() => this.chunks > 0 && this.bytes > 0);
    this.chunks -= 1;
    this.bytes -= send(KIND.CHUNK, this.id, payload, final ? FINAL : 0);
  }

  /** What the host sends to the inbox. */
  async *received() {
    for (;;) {
      await this.until(() => this.inbox.length > 0 || !this.inboxOpen);
      if (this.inbox.length === 0) return;
      const frame = this.inbox.shift();
      this.taken = [this.taken[0] + 1, this.taken[1] + frame.size];
      if (this.taken.some((n, i) => n >= this.window[i] / 2)) {
        send(KIND.CREDIT, this.id, Buffer.concat(this.taken.map(encode)));
        this.taken = [0, 0];
      }
      yield new Reader(frame.payload).value();
    }
  }

  /** Asks the host; its answer's payload. */
  async ask(kind, payload) {
    const id = ++lastAsked;
    let answer;
    asked.set(id, (frame) => {
      answer = frame;
      this.wake();
    });
    this.asks = true;
    send(kind, id, payload);
    try {
      await this.until(() => answer !== undefined);
    } finally {
      this.asks = false;
      asked.delete(id);
    }
    const value = new Reader(answer.payload).value();
    if (answer.kind === KIND.TOOL_ERROR) throw new Failure(value.get("code"), value.get("message"));
    return value;
  }
}

/** A tool's arguments by position or by name, in the order of the names. */
function take(given, names) {
  const texts = (map) => map instanceof Map && [...map.keys()].every((key) => typeof key === "string");
  let positional = [];
  let keywords = new Map();
  if (Array.isArray(given)) positional = given;
  else if (texts(given)) keywords = given;
  else if (given instanceof Ext && given.code === TUPLE) positional = new Reader(given.data).value();
  else if (given instanceof Ext && given.code === ARGS) {
    const both = new Reader(given.data);
    [positional, keywords] = [both.value() ?? [], both.value() ?? new Map()];
  } else if (given !== null) positional = [given];
  return names.map((name, i) => {
    const value = i < positional.length ? positional[i] : keywords.get(name);
    if (value === undefined) throw new Failure("invalid_parameter", `the argument ${name} is missing`);
    return value;
  });
}

function isInt(value) {
  return typeof value === "bigint" || Number.isInteger(value);
}

const tools = {
  echo: { names: ["value"], run: (call, value) => value },
  add: {
    names: ["a", "b"],
    run(call, a, b) {
      if (!isInt(a) || !isInt(b)) throw new Failure("invalid_parameter", "add needs two integers");
      return number(BigInt(a) + BigInt(b));
    },
  },
  fail: {
    names: ["message"],
    run(call, message) {
      throw new Failure("tool_execution_failed", String(message));
    },
  },
  sleep: { names: ["ms"], run: (call, ms) => call.sleep(Number(ms)) },
  count: {
    names: ["n"],
    async *run(call, n) {
      for (let i = 0; i < n; i++) yield i;
      return n;
    },
  },
  talk: {
    names: [],
    async *run(call) {
      let n = 0;
      for await (const value of call.received()) {
        yield value;
        n += 1;
      }
      return n;
    },
  },
  ask: {
    names: ["name", "arguments"],
    run: (call, name, given) => call.ask(KIND.TOOL_CALL, Buffer.concat([encode(name), encode(given)])),
  },
  tools: { names: [], run: (call) => call.ask(KIND.TOOL_LIST) },
};

function streams(tool) {
  return /GeneratorFunction$/.test(tool.run.constructor.name);
}

// ---- serving ----

async function produce(call, producer) {
  try {
    for (;;) {
      const step = await producer.next();
      if (step.done) return step.value;
      await call.chunk(step.value);
    }
  } finally {
    await producer.return();
  }
}

async function perform(call, payload) {
  const reader = new Reader(payload);
  const name = reader.value();
  const given = reader.value(DEPTH + 1);
  if (reader.at !== payload.length) throw new Failure("deserialization_failed", "bytes behind the arguments");
  const tool = Object.hasOwn(tools, name) ? tools[name] : undefined;
  if (tool === undefined) throw new Failure("tool_not_found", `there is no tool ${name}`);
  if (streams(tool) && !call.streams) throw new Failure("streaming_required", `${name} streams: call it as a stream`);
  if (!streams(tool) && call.streams) throw new Failure("streaming_not_supported", `${name} does not stream`);
  const result = tool.run(call, ...take(given, tool.names));
  return call.streams ? produce(call, result) : result;
}

async function serve(frame) {
  const began = process.hrtime.bigint();
  const call = new Call(frame);
  let kind = KIND.RESULT;
  let payload;
  running.push(call);
  try {
    if (frame.stamp !== 0n && began >= frame.stamp) throw new Failure("deadline_exceeded", "the call's deadline had passed before it began");
    payload = encode(await perform(call, frame.payload));
    if (HEADER + payload.length > maxFrame) throw new Failure("limit_exceeded", "the result is longer than max_frame_bytes");
  } catch (error) {
    kind = KIND.ERROR;
    const code = error instanceof Failure ? error.code : "python_exception";
    const python = error instanceof Failure ? {} : { python: { type: error.name, message: error.message, traceback: error.stack ?? null, notes: [] } };
    payload = encode({ code, message: error.message, ...python });
  }
  running.splice(running.indexOf(call), 1);
  send(kind, frame.id, payload, 0, frame.flags & TIMED ? process.hrtime.bigint() - began : 0n);
}

/** What is for a call; of one that has ended it is dropped. */
function toCall(frame) {
  const call = running.find((one) => one.id === frame.id);
  if (call === undefined) return;
  if (frame.kind === KIND.CANCEL) call.cancelled = true;
  if (frame.kind === KIND.SEND_END) call.inboxOpen = false;
  if (frame.kind === KIND.SEND && call.inboxOpen) call.inbox.push(frame);
  if (frame.kind === KIND.CREDIT) {
    const grant = new Reader(frame.payload);
    call.chunks += Number(grant.value());
    call.bytes += Number(grant.value());
  }
  call.wake();
}

function becomeReady(frame) {
  const welcome = new Reader(frame.payload).value();
  maxFrame = Number(welcome.get("max_frame_bytes") ?? maxFrame);
  const described = Object.entries(tools).map(([name, tool]) => ({ name, streaming: streams(tool) }));
  send(KIND.READY, 0n, encode({ tools: described, capabilities: ["ping", "cancel"] }));
}

function handle(frame) {
  const innermost = running[running.length - 1];
  switch (frame.kind) {
    case KIND.WELCOME: return becomeReady(frame);
    case KIND.CALL:
    case KIND.STREAM_CALL:
      if (innermost !== undefined && !(frame.flags & NESTED && innermost.asks)) die("the host broke the protocol: a call in the middle of another");
      return void serve(frame);
    case KIND.CANCEL:
    case KIND.CREDIT:
    case KIND.SEND:
    case KIND.SEND_END: return toCall(frame);
    case KIND.TOOL_RESULT:
    case KIND.TOOL_ERROR:
    case KIND.TOOL_LIST: return asked.get(frame.id)?.(frame);
    case KIND.PING: return void send(KIND.PONG, frame.id);
    case KIND.STOP: return socket.end(() => process.exit(0));
    default: return die("the host broke the protocol: a frame of a kind that has no place here");
  }
}

function main() {
  const [control, segment] = (process.env.SNAKEPIT_FDS ?? "").split(",").map(Number);
  if (!Number.isInteger(control) || !Number.isInteger(segment)) {
    console.error("worker: a Snakepit host starts this, with its socket in SNAKEPIT_FDS");
    process.exit(2);
  }
  const secret = Buffer.alloc(segment >= 0 ? 16 : 0);
  if (segment >= 0) fs.readSync(segment, secret, 0, 16, 40);
  socket = new net.Socket({ fd: control, readable: true, writable: true });
  socket.on("data", receive);
  socket.on("error", () => process.exit(0));
  socket.on("close", () => process.exit(0));
  send(KIND.HELLO, 0n, encode({ protocol_min: 1, protocol_max: 1, pid: process.pid, secret, channels: ["socket"], runtime: { language: "javascript", version: process.version } }));
}

main();
