"""A worker of another language, for `snakepit worker-check`: it shares no code with snakepit_bridge but the codec, and keeps to docs/wire.md, but for
the one lie that it is told to tell.

    python foreign.py [LIE]
"""

import os
import struct
import sys
import time

from snakepit_bridge._codec import decode, decode_call, encode

HELLO, WELCOME, READY, STOP, CALL, RESULT, ERROR, CANCEL, PING, PONG = 1, 2, 3, 5, 16, 17, 18, 19, 48, 49
STREAM_CALL, CHUNK, CREDIT, SEND, SEND_END, TOOL_CALL, TOOL_RESULT, TOOL_ERROR = 24, 25, 26, 27, 28, 32, 33, 34
HEADER = struct.Struct("<BBHIQQ")
TOOLS = ["echo", "add", "fail", "sleep", "count", "ask"]
LIE = sys.argv[1] if len(sys.argv) > 1 else ""
CONTROL, SEGMENT = map(int, os.environ["SNAKEPIT_FDS"].split(","))


window = [0, 0]  # credit of the stream that runs: chunks, bytes


class Failure(Exception):
    pass


def send(kind, call=0, payload=b"", stamp=0):
    os.write(CONTROL, HEADER.pack(1, kind, 0, HEADER.size + len(payload), call, stamp) + payload)


def read(n):
    data = b""
    while len(data) < n:
        part = os.read(CONTROL, n - len(data))
        if not part:
            if LIE == "outlives the socket":
                time.sleep(600)  # allow-sleep: it does not end by itself
            os._exit(0)
        data += part
    return data


def hear():
    while (first := read(1)) == b"\0":
        pass
    data = first + read(HEADER.size - 1)
    version, kind, flags, size, call, stamp = HEADER.unpack(data)
    good = version == 1 and HEADER.size <= size <= 64 << 20 and not flags & ~15
    if LIE == "swallows garbage" and not good:
        return hear()
    if not good:
        os._exit(1)
    body = read(size - HEADER.size)
    if flags & 1:
        end = 4 + struct.unpack_from("<I", body)[0] if len(body) >= 4 else len(body) + 1
        if end > len(body):
            os._exit(1)
        if kind == STREAM_CALL:
            window[:] = struct.unpack_from("<I4xQ", body, 8)
        body = body[end:]
    return kind, flags, call, stamp, body


def await_frame(call, *kinds):
    """The payload of the next frame of these kinds that is for the call."""
    while True:
        kind, flags, found, stamp, body = hear()
        if kind in (CALL, STREAM_CALL):  # made by the tool of the host that it waits for
            answer(kind, flags, found, stamp, body)
        if kind == CANCEL and found == call:
            raise Failure("cancelled", "it was cancelled")
        if kind in kinds:
            return kind, body


def count(n, call):
    for i in range(n):
        while (window[0] <= 0 or window[1] <= 0) and LIE != "ignores the window":
            _, body = await_frame(call, CREDIT)
            chunks, size = decode(b"\x92" + body)
            window[:] = window[0] + chunks, window[1] + size
        payload = encode(i + (LIE == "loses a chunk" and i > 1))
        window[:] = window[0] - 1, window[1] - HEADER.size - len(payload)
        send(CHUNK, call, payload)
    return n


def ask(name, arguments, call):
    send(TOOL_CALL, 1 if LIE == "asks twice by one number" else call + 1000, encode(name) + encode(arguments))
    kind, body = await_frame(call, TOOL_RESULT, TOOL_ERROR)
    if kind == TOOL_ERROR and LIE != "takes errors for results":
        raise Failure("tool_execution_failed", decode(body)["message"])
    return decode(body)


def run(name, args, keywords, call, streams):
    if streams != (name == "count") and LIE != "streams anything":
        raise Failure("streaming_not_supported" if streams else "streaming_required", f"{name} is called in the wrong way")
    if name == "count":
        return count(args[0], call)
    if name == "ask":
        return ask(*args, call)
    if name == "add":
        a, b = {**dict(zip("ab", args)), **keywords}.values()
        return a + b + (LIE == "adds badly")
    if name == "echo":
        value = (*args, *keywords.values())[0]
        return 1 if LIE == "shortens" and value == 1.5 else value
    if name == "fail":
        raise Failure("tool_execution_failed", "what?" if LIE == "forgets the message" else args[0])
    if name == "sleep":
        while hear()[:3:2] != (CANCEL, call):
            pass
        raise Failure("python_exception" if LIE == "fails instead" else "cancelled", "it was cancelled")
    raise Failure("no_such_thing" if LIE == "invents codes" else "tool_not_found", f"there is no tool {name}")


def answer(kind, flags, call, stamp, body):
    if LIE == "says nothing":
        return
    if LIE == "answers another":
        call += 1
    try:
        if stamp and time.monotonic_ns() >= stamp and LIE != "works late":
            raise Failure("deadline_exceeded", "too late")
        name, args, keywords = decode_call(body, 0)
        name = name.decode()
        known = name in TOOLS
        kind, payload = RESULT, encode(run(name, args or (), keywords or {}, call, known and kind == STREAM_CALL))
    except Failure as exc:
        kind, payload = ERROR, encode(dict(zip(("code", "message"), exc.args)))
    except Exception as exc:
        kind, payload = ERROR, encode({"code": "invalid_parameter", "message": str(exc) or type(exc).__name__})
    if LIE == "answers no map" and kind == ERROR:
        payload = encode("it went wrong")
    send(kind, call, payload, time.monotonic_ns() if flags & 2 and LIE != "takes no time" else 0)


def serve():
    while True:
        kind, flags, call, stamp, body = hear()
        if kind in (CALL, STREAM_CALL):
            answer(kind, flags, call, stamp, body)
        elif kind == PING:
            send(PONG, call)
        elif kind == STOP and LIE != "does not stop":
            os._exit(3 if LIE == "stops in anger" else 0)
        elif kind not in (STOP, CANCEL, CREDIT, SEND, SEND_END, TOOL_RESULT, TOOL_ERROR):
            os._exit(1)


def main():
    secret = os.pread(SEGMENT, 16, 40) if SEGMENT >= 0 else b""
    if LIE == "has no secret":
        secret = bytes(16)
    versions = {"protocol_min": 2 if LIE == "is too new" else 1, "protocol_max": 2 if LIE == "is too new" else 1}
    hello = {**versions, "pid": os.getpid(), "secret": secret, "channels": ["pipe" if LIE == "has no socket" else "socket"]}
    send(READY if LIE == "says READY first" else HELLO, 0, encode(hello))
    while hear()[0] != WELCOME:
        pass
    send(READY, 0, encode({"tools": [{"name": name} for name in TOOLS], "capabilities": ["ping", "cancel"]}))
    serve()


decode(encode(None))
main()
