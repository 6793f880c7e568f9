"""An agent in Python whose tools are functions of the C program, and which that program calls back."""

from snakepit_bridge import BaseAdapter, HostToolError, tool


class Agent(BaseAdapter):
    @tool
    def worth(self, holdings: dict):
        price = self.session_context.host_tools["price"]
        return sum(count * price(symbol=symbol) for symbol, count in holdings.items())

    @tool
    def report(self, symbols: list):
        for symbol in symbols:
            try:
                yield f"{symbol}: {self.session_context.call_host_tool('price', symbol=symbol):.2f}"
            except HostToolError as why:
                yield f"{symbol}: {why}"

    @tool
    def factorial(self, n: int):
        return 1 if n < 2 else n * self.session_context.call_host_tool("factorial", {"n": n - 1})

    @tool
    def known(self):
        return sorted(self.session_context.host_tools)
