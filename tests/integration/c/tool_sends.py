"""Reads tools of the host that stream: in every way, and to no end."""

import asyncio
import threading

from snakepit_bridge import BaseAdapter, HostToolError, tool


class Reader(BaseAdapter):
    __thread_safe__ = True

    @tool
    def total(self, n: int):
        rows = self.session_context.stream_host_tool("rows", n=n)
        return [sum(rows), rows.result]

    @tool
    async def atotal(self, n: int):
        rows, found = self.session_context.astream_host_tool("rows", n=n), 0
        async for i in rows:
            found += i
        return [found, rows.result]

    @tool
    def save_each(self, n: int):
        c = self.session_context
        return sum(c.call_host_tool("twice", x=i) for i in c.host_tools["rows"](n=n))

    @tool
    async def asave_each(self, n: int):
        c, found = self.session_context, 0
        async with c.astream_host_tool("rows", n=n) as rows:
            async for i in rows:
                found += await c.acall_host_tool("twice", x=i)
        return found

    @tool
    def ask_back(self, n: int):
        """The tool that is asked for each value asks this worker."""
        c = self.session_context
        return sum(c.call_host_tool("back", x=i) for i in c.stream_host_tool("rows", n=n))

    @tool
    def double(self, x: int):
        return 2 * x

    @tool
    def zipped(self, n: int):
        c = self.session_context
        return sum(sum(each) for each in zip(*[c.stream_host_tool("rows", n=n) for _ in range(5)]))

    @tool
    async def azipped(self, n: int):
        c = self.session_context

        async def one():
            return sum([i async for i in c.astream_host_tool("rows", n=n)])

        return sum(await asyncio.gather(*[one() for _ in range(5)]))

    @tool
    def threaded(self, n: int):
        c, found = self.session_context, [0] * 4

        def work(k):
            for i in c.stream_host_tool("rows", n=n):
                found[k] += c.call_host_tool("twice", x=i)

        them = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for t in them:
            t.start()
        for t in them:
            t.join()
        return sum(found)

    @tool
    def streamed(self, n: int):
        """A stream that is made of a stream."""
        c = self.session_context
        for i in c.stream_host_tool("rows", n=n):
            yield c.call_host_tool("twice", x=i)

    @tool
    def early(self, n: int, how: str = "break"):
        c = self.session_context
        rows = c.stream_host_tool("rows", n=-1)
        for i in rows:
            if i == n:
                break
        if how == "close":
            rows.close()
        if how == "drop":
            del rows
        if how in ("close", "drop"):
            while not c.call_host_tool("stopped"):
                pass
        return n

    @tool
    async def aearly(self, n: int):
        c = self.session_context
        async with c.astream_host_tool("rows", n=-1) as rows:
            async for i in rows:
                if i == n:
                    break
        while not await c.acall_host_tool("stopped"):
            pass
        return n

    @tool
    def many(self, n: int):
        """Opened, and not read."""
        c = self.session_context
        open_ones, refused = [], None
        for _ in range(n):
            rows = c.stream_host_tool("rows", n=-1)
            try:
                next(rows)
            except HostToolError as exc:
                refused = exc.code
                break
            open_ones.append(rows)
        return [len(open_ones), refused]

    @tool
    def fails(self, name: str, n: int, streams: bool = True):
        c, found = self.session_context, []
        try:
            for i in c.stream_host_tool(name, n=n) if streams else [c.call_host_tool(name, n=n)]:
                found.append(i)
        except HostToolError as exc:
            return [len(found), exc.code, str(exc)]
        except ValueError as exc:
            return [len(found), "ValueError", str(exc)]
        return [len(found), None, None]

    @tool
    def large(self, n: int):
        """Values that no ring holds, and what is asked for beside them."""
        c, found = self.session_context, 0
        for block in c.stream_host_tool("blocks", n=n):
            found += len(block) + c.call_host_tool("twice", x=1)
        return found

    @tool
    def later(self):
        """What a stream is good for when its call has ended."""
        kept = getattr(self, "kept", None)
        self.kept = self.session_context.stream_host_tool("rows", n=-1)
        next(self.kept)
        if kept is None:
            return None
        try:
            next(kept)
        except RuntimeError as exc:
            return str(exc)

    @tool
    def wait(self):
        """For what never comes."""
        for _ in self.session_context.stream_host_tool("silent"):
            pass
        while True:  # the tool may have seen first that its time is over
            self.session_context.check()
