"""Reads a table of the program row by row, answers for each, and tells how far it is."""

from snakepit_bridge import BaseAdapter, tool


class Ledger(BaseAdapter):
    @tool
    def audit(self, limit: float):
        context = self.session_context
        rows = context.stream_host_tool("rows", table="payments")
        total, odd = 0.0, 0
        for n, row in enumerate(rows, 1):
            total += row["amount"]
            if row["amount"] > limit:
                odd += context.call_host_tool("flag", id=row["id"], why="too much")
            if n % 250 == 0:
                context.call_host_tool("progress", rows=n)
        return {"rows": rows.result, "total": total, "flagged": odd}

    @tool
    async def first(self, limit: float):
        """The first that is too much: then nothing more is read."""
        async with self.session_context.astream_host_tool("rows", table="payments") as rows:
            async for row in rows:
                if row["amount"] > limit:
                    return row["id"]
