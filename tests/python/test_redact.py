"""Secrets out of texts: what is found, what is left alone, and that no text makes it slow."""

import time

import pytest
from snakepit_bridge import _redact
from snakepit_bridge._redact import add_patterns, redact

R = "<REDACTED>"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abc.def-123", f"Authorization: Bearer {R}"),
        ("authorization: bearer abc, next", f"authorization: bearer {R}, next"),
        ('{"Authorization": "Bearer abc"}', f'{{"Authorization": "Bearer {R}"}}'),
        ("key sk-abcdefghij", f"key {R}"),
        ("key sk-proj-abcdefghij_123-x.", f"key {R}."),
        ("sk-abcdefghi", "sk-abcdefghi"),
        ("task-abcdefghijkl", "task-abcdefghijkl"),
        ('{"api_key": "a b", "x": 1}', f'{{"api_key": "{R}", "x": 1}}'),
        ("{'api-key': 'a\\'b', 'x': 1}", f"{{'api-key': '{R}', 'x': 1}}"),
        ("apikey=abc&x=1", f"apikey={R}&x=1"),
        ("Client(token=b'abc', secret=None)", f"Client(token=b'{R}', secret={R})"),
        ("access_token: abc\nnext", f"access_token: {R}\nnext"),
        ('{"client_secret" : 12345}', f'{{"client_secret" : {R}}}'),
        ('{"password": ["a", "b"], "y": 2}', f'{{"password": {R}, "y": 2}}'),
        ("PASSWORD='unfinished", f"PASSWORD='{R}"),
        ('"{\\"token\\": \\"abc def\\", \\"x\\": 1}"', f'"{{\\"token\\": \\"{R}\\", \\"x\\": 1}}"'),
        ("max_tokens=100", "max_tokens=100"),
        ("a secret place", "a secret place"),
        ("", ""),
    ],
)
def test_what_is_taken_out(text, clean):
    assert redact(text) == clean
    assert redact(clean) == clean


def test_extra_patterns(monkeypatch):
    monkeypatch.setattr(_redact, "_extra", [])
    add_patterns([r"\d{4}-\d{4}"])
    assert redact("card 1234-5678") == f"card {R}"


@pytest.mark.parametrize(
    "piece", ["sk-", "token='", 'secret="\\', "bearer ", "password:", "a", "api_key" * 3, "\\", "token=[", 'x"y']
)
def test_no_text_makes_it_slow(piece):
    """A hundred times the text may cost about a hundred times the time, not ten thousand times."""

    def cost(n):
        text = piece * (n // len(piece))
        return min(timed(text) for _ in range(3))

    def timed(text):
        begun = time.process_time()
        redact(text)
        return time.process_time() - begun

    assert cost(200_000) < 1000 * max(cost(2_000), 20e-6)
