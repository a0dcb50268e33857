"""Makes the vectors of ZCV2, with the decoder's parts and no Rust: run once, and then frozen.

usage: make.py > own/vectors.json
"""

import base64
import hmac
import json
import struct

from decoder import HEADER_LABEL, PAYLOAD_LABEL, gcm_seal, hkdf, info, scrypt

BINDING = "4F2A-91C7"
PASSPHRASE = "correct horse battery staple"
CONTENT = b'{"schemaVersion":1,"globalCreds":{"gh-cli":"RkFLRQ=="},"personaCreds":{}}'
BASE = {
    "magic": b"ZCV2", "version": 1, "suite": 1, "kdf": 1, "log2_n": 15, "r": 8, "p": 1,
    "salt": bytes(range(32)), "generation": 1, "nonce": bytes(range(100, 112)),
}  # fmt: skip


def pad(content):
    text = struct.pack("<I", len(content)) + content
    return text + bytes(-len(text) % 1024)


def parts(content=CONTENT, binding=BINDING, passphrase=PASSPHRASE, padded=None, **given):
    """Header, MAC, payload and tag of a blob; a part that is given is taken as it is."""
    padded = pad(content) if padded is None else padded
    f = {**BASE, "length": len(padded), **given}
    names = ["magic", "version", "suite", "kdf", "log2_n", "r", "p", "salt", "generation", "nonce"]
    header = struct.pack("<4s6B32sQ12sI", *[f[name] for name in names + ["length"]])
    # A cost that no reader pays is not paid here either.
    stretched = scrypt(passphrase.encode(), f["salt"], min(f["log2_n"], 17) or 1)
    binding = binding.encode()
    labels = {"header": HEADER_LABEL, "payload": PAYLOAD_LABEL}
    keys = {name: hkdf(f["salt"], stretched, info(label, binding)) for name, label in labels.items()}
    mac = hmac.digest(f.get("mac_key", keys["header"]), f.get("mac_of", header), "sha256")
    key = keys[f.get("payload_key", "payload")]
    sealed, tag = gcm_seal(key, f.get("sealed_nonce", f["nonce"]), f.get("aad", header), padded)
    return [header, mac, sealed, tag]


def blob(**given):
    return b"".join(parts(**given))


def flipped(at, bit=0, of=None):
    out = bytearray(of or blob())
    out[at] ^= 1 << bit
    return bytes(out)


def put(at, new, of=None):
    of = of or blob()
    at = at % len(of)
    return of[:at] + new + of[at + len(new) :]


def good():
    yield "bundle", CONTENT, {}
    for length in (0, 1, 1019, 1020, 1021, 2044, 2045):
        yield f"content-{length}", b"x" * length, {}
    yield "content-binary", bytes(range(256)), {}
    yield "content-zeros", bytes(600), {}
    yield "generation-0", CONTENT, {"generation": 0}
    yield "generation-max", CONTENT, {"generation": 2**64 - 1}
    yield "cost-16", CONTENT, {"log2_n": 16}
    yield "cost-17-as-written", CONTENT, {"log2_n": 17}
    yield "salt-ff", CONTENT, {"salt": b"\xff" * 32}
    yield "salt-zeros", CONTENT, {"salt": bytes(32)}
    yield "nonce-zeros", CONTENT, {"nonce": bytes(12)}
    yield "binding-empty", CONTENT, {"binding": ""}
    yield "binding-long", CONTENT, {"binding": "b" * 300}
    yield "binding-with-bar", CONTENT, {"binding": "x|y"}
    yield "binding-not-ascii", CONTENT, {"binding": "é\0日"}
    yield "passphrase-one-blank", CONTENT, {"passphrase": " "}
    yield "passphrase-long", CONTENT, {"passphrase": "p" * 200}
    yield "passphrase-not-ascii", CONTENT, {"passphrase": "café-日本語-🔑 ß"}
    yield "passphrase-with-line-end", CONTENT, {"passphrase": "one\ntwo\n"}


def frame():
    whole = blob()
    for length in (0, 1, 3, 4, 65, 66, 97, 98, 1121, 1122, 1137):
        yield f"cut-to-{length}", whole[:length]
    yield "a-byte-more", whole + b"\0"
    yield "a-block-more", whole + bytes(1024)
    yield "twice", whole * 2
    yield "a-block-missing", b"".join(parts(content=b"x" * 1500))[:-1024]
    yield "length-of-two-blocks", blob(length=2048)
    yield "no-payload", blob(padded=b"")
    yield "half-a-block", blob(padded=b"\0" * 512)
    for magic in (b"zcv2", b"ZCV3", b"ZCV\0", b"ZCV1", b"\x89PNG"):
        yield f"magic-{magic.hex()}", blob(magic=magic)
    for name in ("version", "suite", "kdf"):
        for value in (0, 2, 255):
            yield f"{name}-{value}", blob(**{name: value})


def bounds():
    for value in (0, 1, 14, 21, 32, 255):
        yield f"cost-{value}", blob(log2_n=value)
    for value in (0, 1, 7, 9, 16, 255):
        yield f"r-{value}", blob(r=value)
    for value in (0, 2, 255):
        yield f"p-{value}", blob(p=value)
    for value in (0, 1, 1023, 1025, 2**20 + 1, 2**20 + 1024, 2**31, 2**32 - 1):
        yield f"length-{value}", blob(length=value)
    yield "length-not-a-multiple", blob(padded=bytes(1025))


def no_match():
    for name, text in [
        ("other", "Tr0ub4dor&3"), ("case", "Correct horse battery staple"),
        ("blank-behind", PASSPHRASE + " "), ("line-end", PASSPHRASE + "\n"),
        ("shorter", PASSPHRASE[:-1]), ("twice", PASSPHRASE * 2),
    ]:  # fmt: skip
        yield f"passphrase-{name}", blob(), BINDING, text
    decomposed = blob(passphrase="cafe\u0301")
    yield "passphrase-decomposed", decomposed, BINDING, "caf\u00e9"
    for name, text in [
        ("other", "4F2A-91C8"), ("lower-case", "4f2a-91c7"), ("blank-behind", BINDING + " "),
        ("empty", ""), ("longer", BINDING + "0"),
    ]:  # fmt: skip
        yield f"binding-{name}", blob(), text, PASSPHRASE
    for name, at in [("salt-first", 10), ("salt-last", 41), ("generation", 42),
                     ("generation-top", 49), ("nonce-first", 50), ("nonce-last", 61),
                     ("mac-first", 66), ("mac-last", 97)]:  # fmt: skip
        yield f"flip-{name}", flipped(at), BINDING, PASSPHRASE
    yield "mac-zeros", put(66, bytes(32)), BINDING, PASSPHRASE
    yield "mac-of-nothing", blob(mac_of=b""), BINDING, PASSPHRASE
    yield "mac-without-key", blob(mac_key=b""), BINDING, PASSPHRASE
    older = parts(generation=7)
    newer = parts(generation=8)
    yield "older-mac", b"".join([newer[0], older[1], newer[2], newer[3]]), BINDING, PASSPHRASE
    yield "older-header", b"".join([older[0], *newer[1:]]), BINDING, PASSPHRASE
    yield "cost-changed", put(7, b"\x10"), BINDING, PASSPHRASE
    yield "unbound", blob(binding=""), BINDING, PASSPHRASE


def damaged():
    for name, at in [("first", 98), ("last", 1121), ("middle", 600)]:
        yield f"flip-payload-{name}", flipped(at)
    for name, at in [("first", -16), ("last", -1)]:
        yield f"flip-tag-{name}", flipped(at, 7)
    yield "tag-zeros", put(-16, bytes(16))
    yield "payload-zeros", put(98, bytes(1024))
    older, newer = parts(generation=7), parts(generation=8)
    yield "older-payload", b"".join([*newer[:2], *older[2:]])
    two = parts(content=b"x" * 1500)
    sealed = two[2][1024:] + two[2][:1024]
    yield "blocks-exchanged", b"".join([*two[:2], sealed, two[3]])
    yield "no-aad", blob(aad=b"")
    yield "another-nonce", blob(sealed_nonce=bytes(12))
    yield "sealed-by-header-key", blob(payload_key="header")
    padded = pad(CONTENT)
    yield "padding-last-byte", blob(padded=padded[:-1] + b"\1")
    yield "padding-first-byte", blob(padded=put(4 + len(CONTENT), b"\x80", padded))
    yield "padding-block-too-many", blob(padded=padded + bytes(1024))
    for length in (1021, 1024, 2**32 - 1):
        yield f"content-length-{length}", blob(padded=struct.pack("<I", length) + padded[4:])
    yield "content-length-shorter", blob(padded=struct.pack("<I", 10) + padded[4:])


def vectors():
    for name, content, given in good():
        f = {**BASE, **given}
        yield {
            "name": f"good-{name}", "outcome": "opened", "generation": f["generation"],
            "log2_n": f["log2_n"], "salt": f["salt"].hex(), "nonce": f["nonce"].hex(),
            "binding": given.get("binding", BINDING),
            "passphrase": given.get("passphrase", PASSPHRASE),
            "content": base64.b64encode(content).decode(),
            "blob": base64.b64encode(blob(content=content, **given)).decode(),
        }  # fmt: skip
    kinds = {"frame": frame, "bounds": bounds, "no_match": no_match, "damaged": damaged}
    for word, kind in kinds.items():
        for name, sealed, *lock in kind():
            binding, passphrase = lock or (BINDING, PASSPHRASE)
            yield {
                "name": f"{word}-{name}", "outcome": word,
                "binding": binding, "passphrase": passphrase,
                "blob": base64.b64encode(sealed).decode(),
            }  # fmt: skip


print("[\n" + ",\n".join(json.dumps(one) for one in vectors()) + "\n]")
