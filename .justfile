# Short names for the commands of .github/CONTRIBUTING.md. Needs just (https://just.systems): `just --list`.

# Lists the recipes.
default:
    @just --list

# Format, lints, and the structure of source and documents.
check:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets --locked -- -D warnings
    cargo test -p rialto-structure --locked

# Tests whose path contains FILTER: units and integration.
test FILTER:
    cargo test --release --workspace --locked -- '{{FILTER}}'

# Every test, as it must pass before a change lands; on Debian it installs what is missing.
test-all:
    tests/run

# The JavaScript client: types and tests, against the release build of the broker.
test-js:
    cargo build --release --workspace --bins --locked
    npm ci --no-audit --no-fund --prefix sdk/js
    npm run --prefix sdk/js types
    npm test --prefix sdk/js

# The pages in Chromium, against the release build of the broker.
test-browser:
    cargo build --release --workspace --bins --locked
    npm ci --no-audit --no-fund --prefix tests/browser
    node --test tests/browser/*.test.mjs

# Fuzzes every parser, or those that are named, each for SECONDS.
fuzz SECONDS="10" *TARGETS:
    tests/fuzz/run --seconds {{SECONDS}} {{TARGETS}}

# The soaks, two minutes at most; `just soak --full` for the next chunk of 30 minutes, `just soak --table` for the last runs.
soak *OPTIONS:
    tests/soak/run {{OPTIONS}}

# One bench, for instance `just bench fanout --help`.
bench NAME *OPTIONS:
    cargo bench --bench {{NAME}} -- {{OPTIONS}}

# The documentation of all crates; a warning is an error.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace --locked

# Licences, sources and advisories of dependencies. Needs cargo-deny.
deny:
    cargo deny --config tests/setup/deny.toml check
