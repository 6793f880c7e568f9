"""For test_timeouts.c: each command tells how much time its call has, in seconds."""

from snakepit_bridge import BaseAdapter, current_context, tool


class Timeouts(BaseAdapter):
    @tool(timeout_ms=5_000_000)
    def declared(self):
        return current_context().deadline

    @tool(timeout_ms=5_000_000)
    async def both(self):
        return current_context().deadline

    @tool
    def neither(self):
        return current_context().deadline

    @tool(name="endless", timeout_ms=5_000_000)
    def without_end(self):
        return current_context().deadline is None


class Undeclared:
    def declared(self):
        return current_context().deadline
