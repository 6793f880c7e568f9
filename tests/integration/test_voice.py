"""The example voice: what it finds is compared with where the words are, by itself and here; and what can go wrong with a sound."""

from __future__ import annotations

import math
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import wave

import pytest
from programs import LIMIT_S, is_alive, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
STRETCH = r"^(\S+) +(\d+\.\d\d) - +(\d+\.\d\d) s  ([01]\.\d\d)(?:  (\w+) +(\d+\.\d\d) - +(\d+\.\d\d) s)?$"
FOUND = r"^(\S+) +5 of 5 words in 5 stretches; overlap ([01]\.\d\d), precision ([01]\.\d\d), recall ([01]\.\d\d)$"
RUN: list = []  # see spoken()
SPEAKERS = ["de", "en", "en-us+f3", "fr"]


@pytest.fixture
def voice(build, env, tmp_path):
    def run(*arguments, program=None, **options):
        options = {"cwd": tmp_path, "env": env, "timeout": 2 * LIMIT_S, **options}
        command = [str(program or build / "examples" / "voice"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)

    return run


@pytest.fixture
def heard(python):
    """Everything is here that speaking and listening needs."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed (apt-get install espeak-ng)")
    needed = ("numpy", "onnxruntime", "silero_vad")
    code = f"import importlib.util as u, sys; print(*[n for n in {needed!r} if u.find_spec(n) is None])"
    missing = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout.split()
    if missing:
        pytest.skip(
            f"Python packages of the example voice are not installed: {' '.join(missing)} (tools/requirements-voice.txt)"
        )


@pytest.fixture
def spoken(voice, heard, tmp_path_factory):
    """One run that several tests look at: what it has said, and the folder of what was streamed."""
    if not RUN:
        folder = tmp_path_factory.mktemp("spoken")
        RUN.extend((voice("--keep", folder), folder))
    return RUN


def other_adapter(build, folder, *changes):
    """The program in a folder of its own, beside a changed voice.py."""
    folder.mkdir()
    program = shutil.copy(build / "examples" / "voice", folder)
    text = (ROOT / "examples/voice/voice.py").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "voice.py").write_text(text)
    return pathlib.Path(program)


def stretches(done):
    return sorted(re.findall(STRETCH, done.stdout, re.M))


def write_wav(path, samples, rate=16000):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return path


def read_wav(path):
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        return struct.unpack(f"<{file.getnframes()}h", file.readframes(file.getnframes()))


def test_every_word_is_found_where_it_is(spoken):
    done, _ = spoken
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    found = stretches(done)
    assert len(found) == 20 and sorted({line[0] for line in found}) == SPEAKERS
    for _, begin, end, probability, word, first, last in found:
        assert word and float(probability) >= 0.5
        assert abs(float(begin) - float(first)) < 0.25 and abs(float(end) - float(last)) < 0.25, found  # of the sound's seconds
    judged = re.findall(FOUND, done.stdout, re.M)
    assert sorted(name for name, *_ in judged) == SPEAKERS
    assert all(float(overlap) >= 0.75 <= float(precision) and float(recall) >= 0.75 for _, overlap, precision, recall in judged)
    assert done.stdout.splitlines()[-1] == "every word was found"


def test_what_the_guide_shows_is_what_it_says(spoken):
    guide = (ROOT / "docs/guide-streaming.md").read_text()
    shown = re.search(r"^```text\n\$ build/examples/voice\n(.*?)^```$", guide, re.M | re.S)
    assert shown

    def lines(text):
        return re.sub(r"\d+\.\d+", "N", re.sub(r"  +", " ", text)).splitlines()

    stretches_shown, dots, rest = "\n".join(lines(shown[1])).partition("\n...\n")
    last, _, end = rest.partition("\n\n")
    said = lines(spoken[0].stdout)
    assert dots and end.splitlines() == said[-6:]
    for line in [
        *stretches_shown.splitlines(),
        *last.splitlines(),
    ]:  # as they come: four speak at once, and not always in the same order
        assert line in said, line


def test_words_that_drown_in_noise_are_missed(voice, heard):
    done = voice("--snr", "-30")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1] == "not every word was found where it is"


def test_streams_at_once_do_not_mix_what_they_remember(voice, spoken, build, tmp_path):
    files = [spoken[1] / f"{name}.wav" for name in SPEAKERS]
    alone, together = voice("--one-by-one", *files), voice(*files)
    assert alone.returncode == together.returncode == 0
    assert len(stretches(alone)) == 20 and stretches(alone) == stretches(together)

    # and this would be seen: the same with a memory that they share
    shared = other_adapter(
        build,
        tmp_path / "shared",
        ("        state = np.zeros", "        self.state = np.zeros"),
        ("found, state = ", "found, self.state = "),
        ('"state": state', '"state": self.state'),
    )
    assert stretches(voice("--one-by-one", *files, program=shared)) == stretches(alone)
    assert stretches(voice(*files, program=shared)) != stretches(alone)


def test_a_file_is_heard_as_what_was_spoken(voice, spoken):
    said, folder = spoken
    done = voice(folder / "de.wav", folder / "en.wav")
    assert (done.returncode, done.stderr) == (0, "")
    known = [(f"{name}.wav", *rest[:3]) for name, *rest in stretches(said) if name in ("de", "en")]
    assert [line[:4] for line in stretches(done)] == known and len(known) == 10
    assert re.search(r"^de\.wav +5 stretches, \d\.\d\d of \d\.\d\d s$", done.stdout, re.M)


def strength(samples, rate, frequency):
    """Of one frequency in the middle of a sound, and of everything else there."""
    middle = samples[2000:10000]
    turn = 2 * math.pi * frequency / rate
    sine = sum(x * math.sin(turn * i) for i, x in enumerate(middle)) * 2 / len(middle)
    cosine = sum(x * math.cos(turn * i) for i, x in enumerate(middle)) * 2 / len(middle)
    rest = (x - sine * math.sin(turn * i) - cosine * math.cos(turn * i) for i, x in enumerate(middle))
    return math.hypot(sine, cosine), math.sqrt(sum(x * x for x in rest) * 2 / len(middle))


def test_another_rate_is_resampled_without_folding(build, env, tmp_path):
    """What lies below 7 kHz stays, what lies above 8 kHz is gone, and does not come back as something else."""
    sounds = [
        (8000, 1000),
        (11025, 4000),
        (16000, 7000),
        (22050, 1000),
        (22050, 7000),
        (44100, 7000),
        (48000, 3000),
        (44101, 1000),
    ]
    gone = [(22050, 8500), (44100, 9000), (48000, 15000)]
    files = []
    for rate, frequency in [*sounds, *gone]:
        samples = [round(10000 * math.sin(2 * math.pi * frequency * i / rate)) for i in range(rate)]
        files.append(write_wav(tmp_path / f"{rate}-{frequency}.wav", samples, rate))
    kept = tmp_path / "kept"
    kept.mkdir()
    # a worker is not needed for that: this one is not even there
    command = [build / "examples" / "voice", "--keep", kept, *files]
    none = {**env, "SNAKEPIT_PYTHON": str(tmp_path / "no-python")}
    done = subprocess.run(list(map(str, command)), env=none, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1 and "no-python" in done.stderr
    for rate, frequency in sounds:
        samples = read_wav(kept / f"{rate}-{frequency}.wav")
        assert len(samples) == 16000
        there, rest = strength(samples, 16000, frequency)
        assert 9900 < there < 10100 and rest < 5, (rate, frequency, there, rest)
    for rate, frequency in gone:
        assert max(map(abs, read_wav(kept / f"{rate}-{frequency}.wav")[2000:14000])) <= 3, (rate, frequency)


def riff(*chunks):
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def form(kind=1, channels=1, rate=16000, bits=16, more=b""):
    return (
        b"fmt ",
        struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits) + more,
    )


DATA = (b"data", b"\0\1" * 2000)
ENDLESS = b"data\xff\xff\xff\xff" + b"\0\1" * 2000  # as what cannot seek writes it
BAD = {
    "empty": (b"", "it is no WAV file"),
    "text": (b"To be, or not to be, that is the question", "it is no WAV file"),
    "head": (riff()[:10], "it is no WAV file"),
    "another": (riff(form(), DATA).replace(b"WAVE", b"AVI "), "it is no WAV file"),
    "nothing": (riff(), "it has no chunk `fmt `"),
    "unformed": (riff(DATA), "it has no chunk `fmt `"),
    "short": (riff((b"fmt ", b"\1\0\1\0"), DATA), "it has no chunk `fmt `"),
    "float": (riff(form(kind=3, bits=32), DATA), "its samples are no plain numbers (PCM)"),
    "extended": (
        riff(form(0xFFFE, more=struct.pack("<HHIH", 22, 16, 4, 3) + b"\0" * 14), DATA),
        "its samples are no plain numbers",
    ),
    "cut": (riff(form(0xFFFE), DATA), "its samples are no plain numbers"),
    "24 bits": (riff(form(bits=24), DATA), "its samples do not have 16 bits"),
    "stereo": (riff(form(channels=2), DATA), "it has more than one channel"),
    "none": (riff(form(channels=0), DATA), "it has more than one channel"),
    "slow": (riff(form(rate=7999), DATA), "its rate is not between 8,000 and 192,000"),
    "fast": (riff(form(rate=192001), DATA), "its rate is not between 8,000 and 192,000"),
    "still": (riff(form(rate=0), DATA), "its rate is not between 8,000 and 192,000"),
    "silent": (riff(form()), "it has no samples"),
    "half": (riff(form(), (b"data", b"\0")), "it has no samples"),
    "torn": (riff(form(), DATA)[:-2], "the file ends in the middle"),
    "torn early": (riff((b"LIST", b"x" * 100), form(), DATA)[:50], "the file ends in the middle"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused(voice, tmp_path, name):
    content, why = BAD[name]
    (tmp_path / "it.wav").write_bytes(content)
    done = voice(tmp_path / "it.wav")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"voice: {tmp_path}/it.wav: {why}"), done.stderr


GOOD = {
    "plain": riff(form(), DATA),
    "chunks before": riff((b"LIST", b"odd"), form(), (b"fact", b"1234"), DATA),
    "extended": riff(form(0xFFFE, more=struct.pack("<HHIH", 22, 16, 4, 1) + b"\0" * 14), DATA),
    "odd": riff(form(), (b"data", DATA[1] + b"\7")),
    "endless": riff(form()) + ENDLESS,
}


def test_a_good_file_may_have_more_in_it(build, env, tmp_path):
    for name, content in GOOD.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
    kept = tmp_path / "kept"
    kept.mkdir()
    command = [build / "examples" / "voice", "--keep", kept, *(tmp_path / f"{name}.wav" for name in GOOD)]
    none = {**env, "SNAKEPIT_PYTHON": str(tmp_path / "no-python")}
    done = subprocess.run(list(map(str, command)), env=none, capture_output=True, text=True, timeout=LIMIT_S)
    assert "no-python" in done.stderr
    for name in GOOD:
        assert read_wav(kept / f"{name}.wav") == (256,) * 2000, name


@pytest.mark.parametrize(
    "arguments", [["--snr", "loud"], ["--snr", "200"], ["--seed", "-1"], ["--seed", ""], ["--nonsense"], ["x.wav"] * 17]
)
def test_bad_usage(voice, arguments):
    done = voice(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: voice" in done.stderr


def test_files_that_cannot_be_read_or_written(voice, tmp_path):
    assert voice(tmp_path / "none.wav").stderr == f"voice: {tmp_path}/none.wav: No such file or directory\n"
    assert voice(tmp_path).stderr == f"voice: {tmp_path}: Is a directory\n"
    file = write_wav(tmp_path / "it.wav", [0] * 1000)
    done = voice("--keep", tmp_path / "nowhere", file)
    assert (done.returncode, done.stderr) == (1, f"voice: {tmp_path}/nowhere/it.wav: No such file or directory\n")
    full = tmp_path / "full"
    full.mkdir()
    (full / "it.wav").symlink_to("/dev/full")
    done = voice("--keep", full, file)
    assert (done.returncode, done.stderr) == (1, f"voice: {full}/it.wav: No space left on device\n")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "espeak-ng is not installed"),
        ("exit 1", "espeak-ng has failed"),
        ("kill -9 $$", "espeak-ng has failed"),
        ("echo hello", "it is no WAV file"),
        ("exec cat /dev/zero", "it is longer than 256 MB"),
        ("", "it is no WAV file"),
    ],
)
def test_without_a_speaker_that_speaks(voice, env, tmp_path, script, why):
    folder = tmp_path / "bin"
    folder.mkdir()
    if script is not None:
        (folder / "espeak-ng").write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        (folder / "espeak-ng").chmod(0o755)
    done = voice(env={**env, "PATH": str(folder)})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"voice: en: {why}"), done.stderr


def test_without_its_packages_it_says_what_to_install(voice, env, python, tmp_path):
    bare = tmp_path / "venv"
    subprocess.run([python, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=LIMIT_S)
    file = write_wav(tmp_path / "it.wav", [0] * 1000)
    done = voice(file, env={**env, "SNAKEPIT_PYTHON": str(bare / "bin" / "python")})
    assert done.returncode == 1
    assert "No module named" in done.stderr and "pip install --no-deps silero-vad" in done.stderr


def test_a_worker_that_dies_or_lies_is_told(voice, heard, build, tmp_path):
    file = write_wav(tmp_path / "it.wav", [0] * 160_000)
    after = "            chunks += 1\n"
    dead = other_adapter(
        build,
        tmp_path / "dead",
        (after, after + "            if chunks == 7: __import__('os').kill(__import__('os').getpid(), 9)\n"),
    )
    done = voice(file, program=dead)
    assert done.returncode == 1 and "worker_crash" in done.stderr and "every word" not in done.stdout
    for wrong in ({"begin": -1, "end": 5}, {"begin": 1 << 40, "end": 1 << 41}):
        lie = {**wrong, "probability": 1.0}
        liar = other_adapter(build, tmp_path / f"liar{wrong['begin']}", (after, after + f"            yield {lie}\n"))
        done = voice(file, program=liar)
        assert done.returncode == 1 and done.stderr != "" and stretches(done) == [], lie
    mute = other_adapter(build, tmp_path / "mute", (after, after + "            yield 'nothing'\n"))
    done = voice(file, program=mute)
    assert done.returncode == 1 and "map" in done.stderr, done.stderr
    wide = other_adapter(build, tmp_path / "wide", ("CHUNK, CONTEXT = 512, 64", "CHUNK, CONTEXT = 256, 64"))
    done = voice(file, program=wide)
    assert (
        done.returncode == 1 and "ValueError: a chunk has 256 samples of 16 bits, 512 bytes; this one has 1024" in done.stderr
    )


def test_live_is_heard_before_it_is_over_and_can_be_interrupted(build, env, spoken, tmp_path):
    long = write_wav(tmp_path / "long.wav", read_wav(spoken[1] / "en.wav") * 100)  # ten minutes
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen([str(build / "examples" / "voice"), "--live", str(long)], env=env, stdout=out)
    try:
        wait_for(lambda: len(re.findall(STRETCH, log.read_text(), re.M)) >= 1, "a stretch", LIMIT_S)
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert process.poll() is None and children
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == -signal.SIGINT
        wait_for(lambda: not any(is_alive(int(pid)) for pid in children), "the end of the guard", LIMIT_S)
    finally:
        process.kill()
        process.wait()
    assert "stretches," not in log.read_text()
