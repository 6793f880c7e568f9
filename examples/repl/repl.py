"""An interpreter at the other end of a stream: each line that comes is run, and what it prints goes back. Names stay from line to line."""

import code
import contextlib
import io


class Interpreter:
    def session(self, inbox):
        console = code.InteractiveConsole()
        for line in inbox:
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                try:
                    more = console.push(line)
                except SystemExit:
                    return
            yield {"said": out.getvalue().encode("utf-8", "backslashreplace"), "more": more}
