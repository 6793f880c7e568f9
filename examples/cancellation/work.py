"""The worker of cancellation.c: work that does not end by itself. Each kind says "begun" before it goes on."""

import asyncio
import time

from snakepit_bridge import BaseAdapter, current_context, tool


def say_begun(path):
    with open(path, "wb", buffering=0) as pipe:
        pipe.write(b".")


class Work(BaseAdapter):
    @tool
    def polite(self, path):
        """Looks now and then whether it is still wanted."""
        say_begun(path)
        context = current_context()
        while not context.cancelled():
            time.sleep(0.01)
        return "stopped"

    @tool
    async def waiting(self, path):
        """An async method: its task is cancelled, in the middle of an await."""
        say_begun(path)
        await asyncio.sleep(3600)

    @tool
    def busy(self, path):
        """Never looks. `Cancelled` is raised in its loop."""
        say_begun(path)
        while True:
            pass

    @tool
    def asleep(self, path):
        """The same where it sleeps, or waits for a lock, a pipe, a child."""
        say_begun(path)
        time.sleep(3600)

    @tool
    def native(self, path):
        """In C, where no exception can be raised: its worker is killed, and there is a new one."""
        say_begun(path)
        return sum(range(1 << 60))
