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
        ("AWS_SECRET_ACCESS_KEY=AAAA1\nx", f"AWS_SECRET_ACCESS_KEY={R}\nx"),
        ("SECRET_KEY='a b' access_key=c private-key: d", f"SECRET_KEY='{R}' access_key={R} private-key: {R}"),
        ("{'secretAccessKey': 'x', 'accessKeyId': 'AK'}", f"{{'secretAccessKey': '{R}', 'accessKeyId': 'AK'}}"),
        ("passwd=x pwd=y DB_PASSPHRASE=z credentials: v", f"passwd={R} pwd={R} DB_PASSPHRASE={R} credentials: {R}"),
        ("TOKEN_GITHUB=x, primary_key=1, monkey=2", f"TOKEN_GITHUB={R}, primary_key=1, monkey=2"),
        ("token: Bearer abc def", f"token: {R} def"),
        ("tool --password X --user u", f"tool --password {R} --user u"),
        ("tool --db-password 'a b' --token --quiet", f"tool --db-password '{R}' --token --quiet"),
        ("Command '['mysql', '--password', 'X', 'db']' failed", f"Command '['mysql', '--password', '{R}', 'db']' failed"),
        ("--passwords-of x, --mode y", f"--passwords-of {R}, --mode y"),
        ("postgres://user:pa@ss@host:5432/db http://h:80/p@q", f"postgres://user:{R}@host:5432/db http://h:80/p@q"),
        ("redis://:x@h", f"redis://:{R}@h"),
        ("Authorization: Basic QWxhZGRpbg==, basic words", f"Authorization: Basic {R}, basic words"),
        ('{"Authorization": "Token abc"}', f'{{"Authorization": "Token {R}"}}'),
        ("ghp_abcdefghijklmnop1234 hf_abcdefghijklmnopqr", f"{R} {R}"),
        ("(AKIAIOSFODNN7EXAMPLE) xoxb-12345678901-abcdefghijklmnopqrst", f"({R}) {R}"),
        ("hf_transformers AKIA", "hf_transformers AKIA"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIa\n-----END RSA PRIVATE KEY-----\nx",
            f"-----BEGIN RSA PRIVATE KEY-----{R}-----END RSA PRIVATE KEY-----\nx",
        ),
        ("private_key=-----BEGIN PRIVATE KEY-----\nMIIa", f"private_key=-----BEGIN PRIVATE KEY-----{R}"),
        ("-----BEGIN PUBLIC KEY-----\nMIIa", "-----BEGIN PUBLIC KEY-----\nMIIa"),
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
    "piece",
    [
        "sk-",
        "token='",
        'secret="\\',
        "bearer ",
        "password:",
        "a",
        "api_key" * 3,
        "\\",
        "token=[",
        'x"y',
        "--",
        "--token ",
        "://",
        "://a:",
        "://a@",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        "secret_",
        "hf_",
        "authorization: basic ",
    ],
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
