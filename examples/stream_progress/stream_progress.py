"""Long work that tells how far it is, by `stream.send`, and gives its result at the end."""


class Worker:
    def primes_below(self, limit: int, stream):
        found, step = [], max(1, limit // 10)
        for n in range(2, limit):
            if all(n % p for p in found if p * p <= n):
                found.append(n)
            if n % step == 0:
                stream.send({"type": "progress", "data": {"done": n, "of": limit}})
        stream.send({"type": "progress", "data": {"done": limit, "of": limit}}, is_final=True)
        return len(found)
