"""Holds configuration files against the JSON Schema of `rialto config --schema`, as an editor does.

Files that `rialto check` accepts must fit it; files whose only fault is a type, a range or an unknown key must not.
"""

import glob
import json
import sys

import jsonschema

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

SCHEMA = json.load(open("config/rialto.schema.json"))
jsonschema.Draft7Validator.check_schema(SCHEMA)
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)

# What is wrong with these in `tests/config/` can be seen without knowing the keys of the broker.
WRONG = ["api_without_keys", "ranges", "sections", "tls_without_files", "types"]


def faults(path):
    with open(path, "rb") as file:
        document = tomllib.load(file)
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in VALIDATOR.iter_errors(document)]


failed = 0
right = sorted(glob.glob("config/*.toml"))
for path in right:
    for fault in faults(path):
        failed += 1
        print(f"error: {path} is fine, but not for the schema: {fault}")
for name in WRONG:
    if not faults(f"tests/config/{name}.toml"):
        failed += 1
        print(f"error: tests/config/{name}.toml is wrong, but the schema accepts it")
print(f"{len(right)} files fit the schema, {len(WRONG)} wrong ones do not: {failed} failed")
sys.exit(failed > 0 or not right)
