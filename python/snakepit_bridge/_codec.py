"""Values as MessagePack and back, in pure Python: the whole codec under one name (docs/wire.md, section 2)."""

from ._decode import decode, decode_call
from ._encode import Output, encode, encode_into

__all__ = ["Output", "decode", "decode_call", "encode", "encode_into"]
