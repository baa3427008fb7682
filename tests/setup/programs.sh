# Makes sure that the programs the tests need are there: by apt on Debian, else by telling what to install.

apt_refreshed=""

# install_debian PACKAGE...: true when the packages are installed now.
install_debian() {
    command -v apt-get >/dev/null || return 1
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || return 1
        as_root=(sudo)
    fi
    if [ -z "$apt_refreshed" ]; then
        "${as_root[@]}" apt-get update -qq || return 1
        apt_refreshed=yes
    fi
    echo "installing $*"
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

missing() {
    printf 'error: %s is needed. Install it: %s\n' "$1" "$2" >&2
    exit 1
}

need_rust() {
    if ! command -v cargo >/dev/null; then
        install_debian rustup && rustup toolchain install stable --profile default ||
            missing "Rust 1.95 or newer" "https://rustup.rs"
    fi
    cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 ||
        rustup component add clippy rustfmt ||
        missing "clippy and rustfmt" "rustup component add clippy rustfmt"
    rustc --version
}

need_compiler() {
    command -v cc >/dev/null || install_debian gcc libc6-dev || missing "a C compiler" "gcc or clang"
}

# libFuzzer is written in C++ and comes as source.
need_cpp_compiler() {
    command -v c++ >/dev/null || install_debian g++ || missing "a C++ compiler" "g++ or clang++"
}

node_major() {
    node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/'
}

need_node() {
    local aside=$PWD/target/node
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        install_debian nodejs npm || missing "Node.js 20 or newer with npm" "https://nodejs.org"
    fi
    if [ "$(node_major)" -lt 20 ]; then
        # Debian 12 has 18; npm has newer ones as a package.
        [ -x "$aside/node_modules/node/bin/node" ] || npm install --no-audit --no-fund --prefix "$aside" node@22
        PATH=$aside/node_modules/node/bin:$PATH
        hash -r
    fi
    [ "$(node_major)" -ge 20 ] || missing "Node.js 20 or newer (this is $(node --version))" "https://nodejs.org"
    echo "node $(node --version)"
}

need_chromium() {
    [ -x /usr/bin/chromium ] || install_debian chromium || missing "Chromium at /usr/bin/chromium" "your package manager"
    /usr/bin/chromium --version
}

need_curl() {
    command -v curl >/dev/null || install_debian curl || missing "curl" "your package manager"
}
