"""What test_tools.c lists and calls."""

from snakepit_bridge import BaseAdapter, tool


class Tools(BaseAdapter):
    @tool(description="Adds.", timeout_ms=9000)
    def add(self, a: int, b: int = 2) -> int:
        return a + b

    @tool
    def ping(self) -> str:
        return "pong"

    @tool
    def down(self, n: int) -> int:
        return self.session_context.call_host_tool("down", {"n": n})
