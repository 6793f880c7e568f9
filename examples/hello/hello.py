"""The worker of hello.c: a plain class, whose public methods are the commands."""


class Hello:
    def greet(self, name):
        return f"Hello, {name}"
