"""Takes a file in pieces and tells after each how much it has; the file is never in memory as a whole."""

import hashlib


class Store:
    def upload(self, name: str, inbox):
        digest, size = hashlib.sha256(), 0
        for piece in inbox:
            digest.update(piece)
            size += len(piece)
            yield size
        return {"name": name, "bytes": size, "sha256": digest.hexdigest()}
