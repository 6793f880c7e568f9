"""The errors of the codec, in one place, so that both codecs refuse in the same words.

Thread: any; no state.
"""

from ._errors import CodecError, type_name

MAX_DEPTH = 128
MAX_BIGINT_BITS = 1 << 20
MAX_DECIMAL_DIGITS = 1 << 20
MAX_DIMENSIONS = 32
MAX_ENTRIES = 1 << 20


def unserializable(obj: object) -> CodecError:
    return CodecError("unserializable", f"a value of type {type_name(type(obj))} cannot leave its process")


def bad_text(obj: object) -> CodecError:
    return CodecError("invalid_utf8", "a text with a lone surrogate")


def bad_bytes(obj: object) -> CodecError:
    return CodecError("invalid_utf8", "a text that is not valid UTF-8")


def bad_key(obj: object) -> CodecError:
    return CodecError("invalid_parameter", f"a value of type {type_name(type(obj))} cannot be a key")


def repeated_key(obj: object) -> CodecError:
    return CodecError("duplicate_key", "a key that stands twice")


def repeated_item(obj: object) -> CodecError:
    return CodecError("duplicate_key", "an item of a set that stands twice")


def too_deep() -> CodecError:
    return CodecError("limit_exceeded", f"more than {MAX_DEPTH} levels of nesting")


def too_long() -> CodecError:
    return CodecError("limit_exceeded", "more than 4 Gi bytes or items")


def too_many_entries() -> CodecError:
    return CodecError("limit_exceeded", f"more than {MAX_ENTRIES} entries in the maps and sets of one value")


def too_large(limit: int) -> CodecError:
    return CodecError("limit_exceeded", f"the value takes more than max_frame_bytes of the pool ({limit})")


def too_many_bits() -> CodecError:
    return CodecError("limit_exceeded", f"an integer of more than {MAX_BIGINT_BITS} bits")


def truncated() -> CodecError:
    return CodecError("deserialization_failed", "the bytes end within a value")


def malformed(why: str) -> CodecError:
    return CodecError("deserialization_failed", why)
