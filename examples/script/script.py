"""The worker of script.c."""


class Words:
    def count(self, text):
        return len(text.split())
