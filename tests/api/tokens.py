"""Tokens that PyJWT makes, in all four algorithms, are what `rialto token check` takes; and the other way round.

Arguments: the binary, and a folder for what is written.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

BINARY, FOLDER = sys.argv[1], Path(sys.argv[2])
SECRET = "a secret of more than thirty-two bytes"


def public_pem(key):
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form)


def run(*arguments):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


FOLDER.mkdir(parents=True, exist_ok=True)
KEYS = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
config = '[auth]\naudience = "rialto"\n[[auth.key]]\nid = "HS256"\nalgorithm = "HS256"\nsecret = { file = "secret" }\n'
(FOLDER / "secret").write_text(SECRET)
os.chmod(FOLDER / "secret", 0o600)
for name, key in KEYS.items():
    (FOLDER / f"{name}.pem").write_bytes(public_pem(key))
    config += f'[[auth.key]]\nid = "{name}"\nalgorithm = "{name}"\npublic_key = {{ file = "{name}.pem" }}\n'
(FOLDER / "keys.toml").write_text(config + '[[topic]]\npattern = ">"\n')
algorithms = {jwt.algorithms.RSAAlgorithm: "RS256", jwt.algorithms.ECAlgorithm: "ES256", jwt.algorithms.OKPAlgorithm: "EdDSA"}
jwks = [dict(json.loads(kind.to_jwk(KEYS[name].public_key())), kid=name) for kind, name in algorithms.items()]
(FOLDER / "keys.json").write_text(json.dumps({"keys": jwks}))
(FOLDER / "jwks.toml").write_text('[auth]\naudience = "rialto"\njwks = "keys.json"\n[[topic]]\npattern = ">"\n')

claims = {"sub": "ann", "aud": "rialto", "exp": int(time.time()) + 600, "roles": ["trader"], "jti": "t1"}
count = 0
for file, names in {"keys.toml": ["HS256", *KEYS], "jwks.toml": list(KEYS)}.items():
    for name in names:
        key = KEYS.get(name, SECRET)
        for headers in ({"kid": name}, None):
            token = jwt.encode(claims, key, algorithm=name, headers=headers)
            code, out, err = run("token", "check", "--config", str(FOLDER / file), token)
            assert (code, out.split()[:3]) == (0, ["valid", "user", "ann"]), (file, name, out, err)
            count += 1
        for wrong in (dict(claims, aud="other"), dict(claims, exp=int(time.time()) - 600), dict(claims, exp="1")):
            token = jwt.encode(wrong, key, algorithm=name, headers={"kid": name})
            code, out, err = run("token", "check", "--config", str(FOLDER / file), token)
            assert code == 1 and token not in err, (file, name, wrong, out, err)
            count += 1

code, out, err = run("token", "make", "--config", str(FOLDER / "keys.toml"), "--user", "bob", "--role", "desk")
made = jwt.decode(out.strip(), SECRET, algorithms=["HS256"], audience="rialto")
assert (made["sub"], made["roles"]) == ("bob", ["desk"]), made
print(f"{count} tokens of PyJWT are taken or refused as they should be, and PyJWT takes one of ours")
