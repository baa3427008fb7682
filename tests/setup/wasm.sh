# Makes sure that Rust can compile for wasm32-unknown-unknown: by rustup, else by Debian's compiler for the web, which
# is unpacked aside and builds the standard library from its sources.

wasm_environment=()

has_wasm_target() {
    ls "$(rustc --print target-libdir --target wasm32-unknown-unknown)"/libcore-*.rlib >/dev/null 2>&1
}

need_wasm_target() {
    if [ "${RIALTO_WASM:-}" != debian ]; then
        has_wasm_target || rustup target add wasm32-unknown-unknown 2>/dev/null || true
        if has_wasm_target; then
            echo "wasm32-unknown-unknown of $(rustc --version)"
            return
        fi
    fi
    unpack_debian_compiler ||
        missing "the Rust target wasm32-unknown-unknown" "rustup target add wasm32-unknown-unknown"
}

# Runs a command with whatever toolchain can compile plugins here.
with_wasm_toolchain() {
    env "${wasm_environment[@]}" "$@"
}

unpack_debian_compiler() {
    local aside=$PWD/target/debian-rust
    local release linker
    if [ ! -x "$aside/usr/bin/rustc" ]; then
        # The linker for WebAssembly comes with rustup's toolchain, so only these are needed; they would conflict with
        # rustup if they were installed.
        install_debian libllvm22 ca-certificates || return 1
        rm -rf "$aside" && mkdir -p "$aside/packages"
        release=$(apt-cache depends libstd-rust-web-dev | sed -n 's/.*Depends: \(libstd-rust-web-[0-9.]*\)$/\1/p')
        (cd "$aside/packages" && apt-get download -qq rustc-web libstd-rust-web-dev "$release" rust-web-src) || return 1
        for package in "$aside"/packages/*.deb; do
            dpkg -x "$package" "$aside"
        done
        # Cargo looks for the sources where rustup would put them.
        local sources
        sources=$(echo "$aside"/usr/src/rustc-*)
        mkdir -p "$aside/usr/lib/rustlib/src"
        ln -sfn "$sources" "$aside/usr/lib/rustlib/src/rust"
    fi
    linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
    [ -x "$linker" ] || return 1
    wasm_environment=(
        RUSTC="$aside/usr/bin/rustc"
        LD_LIBRARY_PATH="$aside/usr/lib/x86_64-linux-gnu"
        RUSTC_BOOTSTRAP=1
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
        RIALTO_PLUGIN_CARGO_ARGS="-Zbuild-std=std,panic_abort"
    )
    echo "wasm32-unknown-unknown of Debian's $(with_wasm_toolchain "$aside/usr/bin/rustc" --version), unpacked in target/debian-rust"
}
