# RocksDB for all builds of this machine, from the sources that its crate brings. To be sourced.
#
# The crate compiles 343 files one by one and once for each profile, and each reads the same headers again: twelve
# minutes of two cores. Here they are put together into a few large files, which takes two minutes and is done once.
# A build without these variables works as well; it only takes longer.

rocksdb_flags=(
    -std=c++20 -O2 -fPIC -ffunction-sections -fdata-sections -w -include cstdint
    -DNDEBUG -DLZ4 -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION
    -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT
    -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT
)

# The directory of a crate's sources: crate_sources NAME
crate_sources() {
    cargo metadata --format-version 1 --locked |
        grep -o "\"manifest_path\":\"[^\"]*/$1-[0-9][^\"]*/Cargo.toml\"" |
        sed 's/^"manifest_path":"//; s/\/Cargo.toml"$//'
}

# build_rocksdb SOURCES INTO
build_rocksdb() {
    local lz4 parts=12 work
    lz4=$(crate_sources lz4-sys)
    work=$(mktemp -d)
    # Neighbours share most headers.
    sort "$1/rocksdb_lib_sources.txt" | grep -vx 'util/build_version.cc' |
        awk -v root="$1/rocksdb" -v into="$work" -v parts="$parts" \
            '{ file[NR] = $1 } END { for (i = 1; i <= NR; i++)
                printf "#include \"%s/%s\"\n", root, file[i] > sprintf("%s/part%02d.cc", into, (i - 1) * parts / NR) }'
    cp "$1/build_version.cc" "$work"
    printf '%s\n' "$work"/*.cc | xargs -P "$(nproc)" -I{} \
        c++ "${rocksdb_flags[@]}" -I"$1/rocksdb/include" -I"$1/rocksdb" -I"$1" -I"$lz4/liblz4/lib" -c {} -o {}.o
    ar crs "$work/librocksdb.a" "$work"/*.o
    # Whole or not at all, also where two build at once.
    mkdir -p "$2"
    mv "$work/librocksdb.a" "$2/librocksdb.a.$$"
    mv "$2/librocksdb.a.$$" "$2/librocksdb.a"
    rm -rf "$work"
}

rocksdb_library() {
    # Another system knows its own flags, and the crate knows them.
    [ "$(uname -s)" = Linux ] && [ -z "${ROCKSDB_LIB_DIR:-}" ] || return 0
    local sources made
    sources=$(crate_sources librocksdb-sys)
    made=$( (basename "$sources"; c++ -dumpfullversion; c++ -dumpmachine; echo "${rocksdb_flags[@]}") | cksum)
    local into=${XDG_CACHE_HOME:-$HOME/.cache}/rivus/$(basename "$sources")-${made%% *}
    if [ ! -e "$into/librocksdb.a" ]; then
        say "building RocksDB, once for this machine"
        build_rocksdb "$sources" "$into"
    fi
    export ROCKSDB_LIB_DIR=$into ROCKSDB_STATIC=1
}
rocksdb_library
