"""A stream whose producer asks the host for each of its chunks."""

from snakepit_bridge import BaseAdapter, tool


class Asking(BaseAdapter):
    @tool
    def squares(self, n: int):
        for i in range(n):
            yield self.session_context.call_host_tool("square", i=i)

    @tool
    def answers(self, inbox):
        for i in inbox:
            yield self.session_context.call_host_tool("square", i=i)

    @tool
    def double(self, i: int):
        return 2 * i
