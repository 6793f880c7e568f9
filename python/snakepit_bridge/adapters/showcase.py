"""``Showcase``: a tool for each thing that a worker can do, to try a pool with before there is an adapter of one's own.

Everything is computed, nothing is pretended; what is random is seeded, so that each worker gives the same answer.

Thread: the lane's.
"""

from __future__ import annotations

from ._basic import BasicTools
from ._binary import BinaryTools
from ._concurrent import ConcurrentTools
from ._learning_tools import LearningTools
from ._sessions import SessionTools
from ._streams import StreamTools


class Showcase(BasicTools, SessionTools, BinaryTools, StreamTools, ConcurrentTools, LearningTools):
    """Tools of six groups: basic, session, binary, streaming, concurrent and machine learning."""
