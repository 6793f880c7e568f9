"""An adapter whose health is what a file says; it counts in another how often it was asked."""

import asyncio
import os
import time

from snakepit_bridge import BaseAdapter, tool

PATH = os.environ["HEALTH_PATH"]


class Patient(BaseAdapter):
    async def health(self):
        with open(PATH + ".asked", "ab") as f:
            f.write(b".")
        with open(PATH, encoding="utf-8") as f:
            said = f.read()
        if said == "raise":
            raise RuntimeError("the model\nis \x1b[31mgone")
        if said == "false":
            return False
        if said == "none":
            return None
        if said == "list":
            return [1]
        if said == "hang":
            time.sleep(3600)  # allow-sleep: for ever
        if said == "large":
            return {"status": "ok", "blob": b"x" * 100_000}
        await asyncio.sleep(0)  # allow-sleep: a turn of the loop
        return {"status": said, "loaded_models": ["m"], "memory_mb": 1.5, "odd": object()}

    @tool
    def wait(self, path):
        """Until the file is there."""
        with open(path + ".begun", "wb") as f:
            f.write(b"1")
        while not os.path.exists(path):
            time.sleep(0.005)  # allow-sleep: between two looks

    @tool
    def quick(self, n):
        return n


class Tool(BaseAdapter):
    @tool
    def health(self, what):
        """No hook but a command: it is never asked."""
        return what

    @tool
    def quick(self, n):
        return n
