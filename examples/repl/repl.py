"""An interpreter at the other end of a stream: each line that comes is run, and what it prints goes back. Names stay from line to line."""

import contextlib
import io
import traceback


class Interpreter:
    def session(self, inbox):
        names: dict = {}
        for line in inbox:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                try:
                    exec(compile(line, "<repl>", "single"), names)
                except Exception:
                    out.write(traceback.format_exc(limit=0))
            yield out.getvalue()
