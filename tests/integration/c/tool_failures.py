"""What test_tool_failures.c calls."""

from snakepit_bridge import BaseAdapter, HostToolError, tool


class Failures(BaseAdapter):
    @tool
    def fails(self) -> None:
        raise ValueError("no such thing")

    @tool
    def echo(self, x: object = None) -> object:
        return x

    @tool
    def ask(self, name: str, n: int = 0) -> object:
        return self.session_context.call_host_tool(name, {"n": n})

    @tool
    def catch(self, name: str) -> object:
        try:
            return self.session_context.call_host_tool(name, {"n": 0})
        except HostToolError as e:
            return {"code": e.code, "message": str(e), "details": e.details}
        except ValueError as e:
            return {"code": "ValueError", "message": str(e), "details": {}}
