# What a build needs beside Rust, installed if it is missing. To be sourced.

say() { printf '\n== %s\n' "$*"; }

install() {
    say "installing $1"
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -q
    "${sudo[@]}" apt-get install -qy --no-install-recommends "$1"
}

# need COMMAND PACKAGE
need() {
    command -v "$1" >/dev/null 2>&1 || install "$2"
}

# A C++ compiler for RocksDB and mimalloc, libclang for RocksDB's bindings.
need c++ build-essential
if [ -z "${LIBCLANG_PATH:-}" ] && ! compgen -G "/usr/lib/llvm-*/lib/libclang.so*" >/dev/null &&
    [[ "$(ldconfig -p 2>/dev/null)" != *libclang.so* ]]; then
    install libclang-dev
fi
