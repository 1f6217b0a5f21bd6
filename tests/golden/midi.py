"""Writes tests/golden/midi/: a small MIDI file made with mido, and midi.json with what pretty_midi and dattri read of it and of MAESTRO.

`notes` are pretty_midi's, `dattri` the tokens of dattri's own encoder, `performance` those of a simulation of keys and pedal, event by
event, written here. Of MAESTRO's files, which are not shipped, there are the numbers of tokens and their sha256 (as little-endian int64).

Versions: mido 1.3.3, pretty_midi 0.2.11, dattri 0.3.0, numpy 2.3.5, Python 3.11. Command, from the repository's root, in an environment
that has them, where ASCRIBE_DATA names a folder with maestro-v2.0.0 in it:

    python tests/golden/midi.py
"""

import csv
import hashlib
import json
import os
from pathlib import Path

import mido
import numpy as np
import pretty_midi
from dattri.benchmark.models.MusicTransformer.midi_processor.processor import encode_midi

HERE = Path(__file__).resolve().parent / "midi"
EVERY = 9  # of MAESTRO's files


def small():
    """Two tracks and channels, tempo changes, a pedal that is down at the end, keys struck again, running status, all kinds of messages."""
    midi = mido.MidiFile(type=1, ticks_per_beat=96)
    tempo, piano, bass = mido.MidiTrack(), mido.MidiTrack(), mido.MidiTrack()
    midi.tracks.extend([tempo, piano, bass])
    tempo.append(mido.MetaMessage("track_name", name="Größe", time=0))
    tempo.append(mido.MetaMessage("set_tempo", tempo=600_000, time=0))
    tempo.append(mido.MetaMessage("time_signature", numerator=3, denominator=4, time=0))
    tempo.append(mido.MetaMessage("set_tempo", tempo=350_000, time=200))
    tempo.append(mido.MetaMessage("set_tempo", tempo=350_000, time=10))
    tempo.append(mido.MetaMessage("set_tempo", tempo=1_000_000, time=300))
    rng = np.random.default_rng(0)
    piano.append(mido.Message("program_change", program=0, time=0))
    piano.append(mido.Message("sysex", data=[1, 2, 3], time=1))
    held, pedal = {}, 0
    for _ in range(160):
        time = int(rng.integers(0, 30))
        choice = rng.integers(0, 10)
        if choice < 4:
            pitch = int(rng.integers(58, 64))
            held[pitch] = True
            piano.append(mido.Message("note_on", note=pitch, velocity=int(rng.integers(1, 128)), time=time))
        elif choice < 8 and held:
            pitch = sorted(held)[int(rng.integers(0, len(held)))]
            del held[pitch]
            kind = "note_on" if rng.integers(0, 2) else "note_off"
            piano.append(mido.Message(kind, note=pitch, velocity=0, time=time))
        elif choice == 8:
            pedal = 127 - pedal if rng.integers(0, 3) else int(rng.integers(0, 128))
            piano.append(mido.Message("control_change", control=64, value=pedal, time=time))
        else:
            piano.append(mido.Message("pitchwheel", pitch=100, time=time))
    piano.append(mido.Message("control_change", control=64, value=100, time=3))
    for pitch in sorted(held):
        piano.append(mido.Message("note_off", note=pitch, velocity=64, time=7))
    for i in range(12):
        bass.append(mido.Message("note_on", channel=3, note=40 + i % 3, velocity=30 + 8 * i, time=25))
        bass.append(mido.Message("note_off", channel=3, note=40 + i % 3, velocity=0, time=20))
        bass.append(mido.Message("control_change", channel=3, control=64, value=127 * (i % 2), time=5))
    midi.save(HERE / "small.mid")


def performance(path):
    """Keys and the pedal as they move, one event after the other."""
    midi, clock = mido.MidiFile(path), pretty_midi.PrettyMIDI(str(path))
    notes = []
    for track in midi.tracks:
        events, tick = [], 0
        for message in track:
            tick += message.time
            if message.type == "control_change" and message.control == 64:
                events.append((tick, 0, message.channel, message.value, 0))  # of what comes at once, the pedal first
            elif message.type in ("note_on", "note_off"):
                velocity = message.velocity if message.type == "note_on" else 0
                events.append((tick, 1, message.channel, message.note, velocity))
        events.sort(key=lambda event: event[:2])
        for channel in sorted({event[2] for event in events}):
            down, fading, pedal, last, played = {}, {}, False, 0.0, []
            for tick, kind, own, number, velocity in events:
                if own != channel:
                    continue
                now = clock.tick_to_time(tick)
                if kind == 0:
                    last = max(last, now)
                    pedal = number >= 64
                    if not pedal:
                        played += [(start, now, pitch, v) for pitch, some in fading.items() for start, v in some]
                        fading = {}
                elif velocity > 0:
                    played += [(start, now, number, v) for start, v in fading.pop(number, [])]
                    down.setdefault(number, []).append((now, velocity))
                elif number in down:
                    begun = down.pop(number)
                    ending = [note for note in begun if note[0] != now]
                    going_on = [note for note in begun if note[0] == now]
                    if ending and going_on:
                        down[number] = going_on
                    last = max(last, now) if ending else last
                    if pedal and not going_on:
                        fading.setdefault(number, []).extend(ending)
                    else:
                        played += [(start, now, number, v) for start, v in ending]
            played += [(start, last, pitch, v) for pitch, some in fading.items() for start, v in some]
            notes += played
    events = []
    for start, end, pitch, velocity in notes:
        begin, finish = round(start * 100), round(end * 100)
        events += [(begin, 1, pitch, velocity), (max(finish, begin + 1), 0, pitch, 0)]
    tokens, now, loudness = [], 0, None
    for step, kind, pitch, velocity in sorted(events):
        while step > now:
            some = min(step - now, 100)
            tokens.append(256 + some - 1)
            now += some
        if kind == 0:
            tokens.append(128 + pitch)
            continue
        if velocity // 4 != loudness:
            loudness = velocity // 4
            tokens.append(356 + loudness)
        tokens.append(pitch)
    return tokens


def summary(tokens):
    return [len(tokens), hashlib.sha256(np.array(tokens, "<i8").tobytes()).hexdigest()]


def main():
    HERE.mkdir(exist_ok=True)
    small()
    read = pretty_midi.PrettyMIDI(str(HERE / "small.mid"))
    golden = {
        "notes": [[[n.start, n.end, n.pitch, n.velocity] for n in part.notes] for part in read.instruments],
        "pedal": [[[c.time, c.value] for c in part.control_changes if c.number == 64] for part in read.instruments],
        "dattri": encode_midi(str(HERE / "small.mid")),
        "performance": performance(HERE / "small.mid"),
    }
    folder = Path(os.environ["ASCRIBE_DATA"]) / "maestro-v2.0.0"
    with open(folder / "subset.csv", newline="") as file:
        names = sorted(row["midi_filename"] for row in csv.DictReader(file))[::EVERY]
    golden["maestro"] = {
        name: {"dattri": summary(encode_midi(str(folder / name))), "performance": summary(performance(folder / name))} for name in names
    }
    text = json.dumps(golden, ensure_ascii=False)
    (HERE / "midi.json").write_text(text.replace('"maestro"', '\n"maestro"').replace('"20', '\n"20') + "\n")


if __name__ == "__main__":
    main()
