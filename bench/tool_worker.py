"""What the benchmark of the host's tools calls."""

from snakepit_bridge import current_context


class Asks:
    def ask(self, first, n):
        """Calls a tool of the host n times."""
        call = current_context().call_host_tool
        for x in range(first, first + n):
            if call("inc", x=x)["x"] != x + 1:
                raise RuntimeError("wrong answer")

    def descend(self, calls):
        """So many calls inside each other, this one counted; between two of them a tool of the host."""
        return 1 if calls == 1 else 1 + current_context().call_host_tool("descend", calls=calls - 1)
