"""Decodes both formats of sealed credentials, from docs/credential-format.md alone.

It shares no code with the Rust programs, nor with any library of ciphers: scrypt, HMAC and SHA-256
come from Python's standard library, AES-GCM is written out below. It is for tests: slow, and not
careful about timing.

usage: decoder.py PLACE    the folder of the original's vectors, or the file of zeta's; prints a line for
each case: vector, case, outcome, SHA-256 of the content
"""

import base64
import concurrent.futures
import functools
import hashlib
import hmac
import json
import os
import struct
import sys


def _sbox():
    box, p, q = [0x63] * 256, 1, 1
    while True:
        p = (p ^ (p << 1) ^ (0x1B if p & 0x80 else 0)) & 0xFF  # times 3
        for shift in (1, 2, 4):
            q ^= q << shift & 0xFF
        q ^= 0x09 if q & 0x80 else 0  # divided by 3
        turned = [(q << n | q >> (8 - n)) & 0xFF for n in range(5)]
        box[p] = functools.reduce(lambda a, b: a ^ b, turned) ^ 0x63
        if p == 1:
            return box


SBOX = _sbox()


def _double(byte):
    return (byte << 1) ^ (0x11B if byte & 0x80 else 0)


class Aes256:
    def __init__(self, key):
        words, constant = [list(key[at : at + 4]) for at in range(0, 32, 4)], 1
        for at in range(8, 60):
            word = words[-1]
            if at % 8 == 0:
                word = [SBOX[byte] for byte in word[1:] + word[:1]]
                word[0] ^= constant
                constant = _double(constant)
            elif at % 8 == 4:
                word = [SBOX[byte] for byte in word]
            words.append([a ^ b for a, b in zip(words[at - 8], word)])
        self.rounds = [sum(words[at : at + 4], []) for at in range(0, 60, 4)]

    def block(self, block):
        state = [a ^ b for a, b in zip(block, self.rounds[0])]
        for number in range(1, 15):
            state = [SBOX[state[(at + 4 * (at % 4)) % 16]] for at in range(16)]
            if number < 14:
                mixed = []
                for at in range(0, 16, 4):
                    column = state[at : at + 4]
                    every = column[0] ^ column[1] ^ column[2] ^ column[3]
                    for row in range(4):
                        pair = column[row] ^ column[(row + 1) % 4]
                        mixed.append(column[row] ^ every ^ _double(pair))
                state = mixed
            state = [a ^ b for a, b in zip(state, self.rounds[number])]
        return bytes(state)


def _gcm(key, nonce, aad, text, encrypt):
    """The other text, and the tag."""
    aes = Aes256(key)
    stream = b"".join(
        aes.block(nonce + struct.pack(">I", at + 2)) for at in range((len(text) + 15) // 16)
    )
    other = bytes(a ^ b for a, b in zip(text, stream))
    sealed = other if encrypt else text
    h, y = int.from_bytes(aes.block(bytes(16)), "big"), 0
    padded = [part + bytes(-len(part) % 16) for part in (aad, sealed)]
    padded = b"".join(padded) + struct.pack(">QQ", 8 * len(aad), 8 * len(sealed))
    for at in range(0, len(padded), 16):
        x, v, y = y ^ int.from_bytes(padded[at : at + 16], "big"), h, 0
        for bit in range(127, -1, -1):
            y ^= v if x >> bit & 1 else 0
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
    mask = int.from_bytes(aes.block(nonce + struct.pack(">I", 1)), "big")
    return other, (y ^ mask).to_bytes(16, "big")


def gcm_seal(key, nonce, aad, plain):
    return _gcm(key, nonce, aad, plain, True)


def gcm_open(key, nonce, aad, sealed, tag):
    plain, expect = _gcm(key, nonce, aad, sealed, False)
    return plain if hmac.compare_digest(tag, expect) else None


def hkdf(salt, secret, info):
    """32 bytes: one round of expansion."""
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


@functools.lru_cache(maxsize=None)
def scrypt(passphrase, salt, log2_n):
    memory = (2 << (10 + log2_n)) + (1 << 20)
    return hashlib.scrypt(passphrase, salt=salt, n=1 << log2_n, r=8, p=1, dklen=32, maxmem=memory)


HEADER_LABEL = b"zeta-creds-v2 header MAC"
PAYLOAD_LABEL = b"zeta-creds-v2 payload"


def info(label, binding):
    return struct.pack("<Q", len(label)) + label + struct.pack("<Q", len(binding)) + binding


class Refused(Exception):
    """One of: frame, bounds, no_match, damaged."""


def open_v1(blob, binding, passphrase):
    if len(blob) < 78:
        raise Refused("frame")
    at, parts = 8, []
    for form in ("<H", "<H", "<H", "<I"):
        width = struct.calcsize(form)
        if len(blob) < at + width:
            raise Refused("frame")
        (length,) = struct.unpack_from(form, blob, at)
        parts.append(blob[at + width : at + width + length])
        at += width + length
    if at != len(blob):
        raise Refused("frame")
    salt, nonce, tag, sealed = parts
    if len(sealed) > 1 << 20:
        raise Refused("bounds")
    if (len(salt), len(nonce), len(tag)) != (32, 12, 16):
        raise Refused("damaged")
    secret = binding + b"|" + scrypt(passphrase, salt, 17)
    key = hkdf(salt, secret, b"zeta-b0852-cred-persistence-v1")
    content = gcm_open(key, nonce, b"", sealed, tag)
    if content is None:
        raise Refused("no_match")
    return content


def open_v2(blob, binding, passphrase):
    if len(blob) < 66 + 32 + 1024 + 16:
        raise Refused("frame")
    _, version, suite, kdf, log2_n, r, p, salt, generation, nonce, length = struct.unpack(
        "<4s6B32sQ12sI", blob[:66]
    )
    if (version, suite, kdf) != (1, 1, 1):
        raise Refused("frame")
    if not 15 <= log2_n <= 20 or (r, p) != (8, 1):
        raise Refused("bounds")
    if length % 1024 or not 1024 <= length <= 1 << 20:
        raise Refused("bounds")
    if len(blob) != 66 + 32 + length + 16:
        raise Refused("frame")
    header, mac, sealed, tag = blob[:66], blob[66:98], blob[98:-16], blob[-16:]
    stretched = scrypt(passphrase, salt, log2_n)
    header_key = hkdf(salt, stretched, info(HEADER_LABEL, binding))
    if not hmac.compare_digest(hmac.digest(header_key, header, "sha256"), mac):
        raise Refused("no_match")
    key = hkdf(salt, stretched, info(PAYLOAD_LABEL, binding))
    padded = gcm_open(key, nonce, header, sealed, tag)
    if padded is None:
        raise Refused("damaged")
    (size,) = struct.unpack_from("<I", padded)
    if size + 4 > length or size + 4 + 1024 <= length or any(padded[4 + size :]):
        raise Refused("damaged")
    return padded[4 : 4 + size]


def outcome(blob, binding, passphrase):
    """The outcome in a word, and the SHA-256 of the content or a dash."""
    try:
        which = {b"ZCV1": open_v1, b"ZCV2": open_v2}.get(blob[:4])
        if which is None:
            raise Refused("frame")
        content = which(blob, binding, passphrase)
        return "opened", hashlib.sha256(content).hexdigest()
    except Refused as refused:
        return str(refused), "-"


def _original(folder):
    with open(os.path.join(folder, "index.json")) as index:
        names = [entry["name"] for entry in json.load(index)]
    for name in names:
        with open(os.path.join(folder, name + ".json")) as text:
            vector = json.load(text)
        with open(os.path.join(folder, name + ".bin"), "rb") as sealed:
            blob = sealed.read()
        for case in vector["cases"]:
            given = case.get("passphrase_file_base64")
            if given is not None:
                passphrase = base64.b64decode(given)
                if passphrase.endswith(b"\n"):
                    passphrase = passphrase[:-2] if passphrase[-2:] == b"\r\n" else passphrase[:-1]
            else:
                passphrase = base64.b64decode(case["passphrase_utf8_base64"])
            if passphrase:
                yield name, case["case"], blob, case["usb_uuid"], passphrase


def _own(file):
    with open(file) as text:
        for case in json.load(text):
            blob = base64.b64decode(case["blob"])
            yield "own", case["name"], blob, case["binding"], case["passphrase"].encode()


def main():
    place = sys.argv[1]
    cases = list(_original(place) if os.path.isdir(place) else _own(place))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        # scrypt lets other threads run; its results are remembered.
        outcomes = pool.map(lambda c: outcome(c[2], c[3].encode(), c[4]), cases)
        for (name, case, *_), (word, digest) in zip(cases, outcomes):
            print(name, case, word, digest, sep="\t")


if __name__ == "__main__":
    main()
