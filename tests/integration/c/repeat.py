"""For test_repeat.c: a command whose first run with a file ends its worker."""

import os

from snakepit_bridge import BaseAdapter, tool


class Fragile(BaseAdapter):
    @tool(idempotent=True)
    def declared(self, path):
        return self._run(path)

    @tool
    def undeclared(self, path):
        return self._run(path)

    @tool(idempotent=True)
    def asks(self, path, name):
        self.session_context.call_host_tool(name, {"path": path})
        return self._run(path)

    def _run(self, path):
        with open(path, "a+") as f:
            f.write("x")
            if f.tell() == 1:
                f.flush()
                os._exit(3)
            return f.tell()
