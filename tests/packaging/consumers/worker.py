class Worker:
    def add(self, a, b):
        return a + b

    def words(self, text):
        return text.split()

    def fail(self):
        raise ValueError("as asked")
