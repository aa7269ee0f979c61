# What a build needs beside Rust, installed if it is missing. To be sourced, from anywhere.

scripts=$(dirname "${BASH_SOURCE[0]}")

# What is built or installed once for a user, whatever checkout it is used by.
made_once=${XDG_CACHE_HOME:-$HOME/.cache}/rivus

say() { printf '\n== %s\n' "$*"; }

# Whether the system's packages were listed anew.
listed=
install() {
    say "installing $1"
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    [ -n "$listed" ] || "${sudo[@]}" apt-get update -q
    listed=yes
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
# protoc for the messages of etcd's client, and the ones that come with it.
need protoc protobuf-compiler
[ -e "$(dirname "$(command -v protoc)")/../include/google/protobuf/descriptor.proto" ] || install libprotobuf-dev

# The servers that tests start by themselves: etcd, and one that speaks like S3, in an environment of its own. That one is downloaded
# while other things are built: `wait $servers` before the tests.
need_servers() {
    need etcd etcd-server
    need etcdctl etcd-client
    need openssl openssl
    need python3 python3
    local home=$made_once/moto
    if ! "$home/bin/python" -c 'import moto.moto_server' 2>/dev/null; then
        say "installing moto, which speaks like S3"
        python3 -c 'import ensurepip' 2>/dev/null || install python3-venv
        python3 -m venv --clear "$home"
        "$home/bin/pip" install --quiet --disable-pip-version-check 'moto[server]==5.2.5' &
        servers=$!
    fi
}
servers=

source "$scripts/rocksdb.sh"
