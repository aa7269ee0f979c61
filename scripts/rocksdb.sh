# RocksDB for all builds of this user, from the sources that its crate brings. To be sourced.
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
    cargo metadata --format-version 1 --locked --manifest-path "$scripts/../Cargo.toml" |
        grep -o "\"manifest_path\":\"[^\"]*/$1-[0-9][^\"]*/Cargo.toml\"" |
        sed 's/^"manifest_path":"//; s/\/Cargo.toml"$//'
}

# compile_rocksdb SOURCES LZ4 WORK: the library, in the directory WORK
compile_rocksdb() {
    # In their order: neighbours share most headers. Each part has about as many bytes, so that no core waits long for the last one.
    sort "$1/rocksdb_lib_sources.txt" | grep -vx 'util/build_version.cc' | (cd "$1/rocksdb" && xargs wc -c) | grep -v ' total$' |
        awk -v root="$1/rocksdb" -v into="$3" -v files="$(grep -cvx 'util/build_version.cc' "$1/rocksdb_lib_sources.txt")" '{ size[NR] = $1; file[NR] = $2; all += $1 } END {
            if (NR != files) exit 1
            for (i = 1; i <= NR; i++) {
            printf "#include \"%s/%s\"\n", root, file[i] > sprintf("%s/part%02d.cc", into, before * 12 / all)
            before += size[i] } }' &&
        cp "$1/build_version.cc" "$3" &&
        printf '%s\n' "$3"/*.cc | xargs -P "$(nproc)" -I{} \
            c++ "${rocksdb_flags[@]}" -I"$1/rocksdb/include" -I"$1/rocksdb" -I"$1" -I"$2/liblz4/lib" -c {} -o {}.o &&
        ar crs "$3/librocksdb.a" "$3"/*.o
}

use_rocksdb() {
    # Other systems have other flags, which the crate knows.
    [ "$(uname -sm)" = "Linux x86_64" ] && [ -z "${ROCKSDB_LIB_DIR:-}" ] || return 0
    local sources key into work
    sources=$(crate_sources librocksdb-sys)
    if [ -z "$sources" ]; then
        say "RocksDB's sources are not found: mend what cargo says above"
        return 1
    fi
    key=$( (c++ --version; echo "${rocksdb_flags[@]}") | cksum)
    into=$made_once/$(basename "$sources")-${key%% *}
    if [ ! -e "$into/librocksdb.a" ]; then
        say "building RocksDB, once for all checkouts"
        mkdir -p "$into"
        work=$(mktemp -d "$into/build.XXXXXX")
        if ! compile_rocksdb "$sources" "$(crate_sources lz4-sys)" "$work"; then
            say "that failed; RocksDB's crate builds it, which takes longer"
            rm -rf "$work"
            return 0
        fi
        # Whole or not at all, also where two build at once.
        mv "$work/librocksdb.a" "$into/librocksdb.a"
        rm -rf "$work"
    fi
    export ROCKSDB_LIB_DIR=$into ROCKSDB_STATIC=1
}
use_rocksdb
