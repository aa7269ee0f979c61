#!/usr/bin/env bash
# Compares the examples with SQL: the same questions put to SQLite, which shares no code with Rivus.
#
#   docs/verification/run.sh DATA_DIR     with DATA_DIR/apache_access.log and DATA_DIR/openssh_auth.log
#
# Prints a line per comparison, and the differences if there are any; fails if there are.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 DATA_DIR" >&2; exit 2; }
data=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
for log in apache_access.log openssh_auth.log; do
    [ -r "$data/$log" ] || { echo "no $log in $data" >&2; exit 2; }
done
command -v sqlite3 > /dev/null || { echo "sqlite3 is not installed" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here/../.."
cargo build --quiet -p rivus --example top_pages --example ssh_bruteforce
bin="${CARGO_TARGET_DIR:-target}/debug/examples"

# sql SCRIPT LOG NAME VALUE...: the script over the log's lines, with parameters.
sql() {
    local script=$1 log=$2
    shift 2
    {
        printf '.mode ascii\n.separator "\\037" "\\n"\n'
        printf 'create table lines(line text);\n.import "%s" lines\n' "$data/$log"
        printf '.parameter init\n'
        while [ $# -gt 0 ]; do
            printf '.parameter set @%s %s\n' "$1" "$2"
            shift 2
        done
        printf '.mode list\n.separator ","\n'
        cat "$here/$script"
    } | sqlite3 -bail :memory:
}

failed=0
# compare WHAT: the two outputs.
compare() {
    local rows
    rows=$(wc -l < "$work/sql")
    if diff "$work/sql" "$work/rivus"; then
        echo "same: $1: $rows rows"
    else
        echo "DIFFERENT: $1"
        failed=1
    fi
}

for question in "3600 600 3" "600 60 5" "86400 3600 10" "300 300 1" "120 300 2"; do
    read -r size slide top <<< "$question"
    sql top_pages.sql apache_access.log size "$size" slide "$slide" top "$top" > "$work/sql"
    for parallelism in 1 2 4; do
        what="top $top pages, windows of ${size}s every ${slide}s, parallelism $parallelism"
        options=(--size "${size}s" --slide "${slide}s" --top "$top" --parallelism "$parallelism")
        "$bin/top_pages" "$data/apache_access.log" "${options[@]}" > "$work/rivus"
        compare "$what"
        rm -rf "$work/out"
        "$bin/top_pages" "$data/apache_access.log" "${options[@]}" --out "$work/out"
        cat "$work"/out/*.csv | LC_ALL=C sort > "$work/rivus"
        LC_ALL=C sort "$work/sql" > "$work/sorted" && mv "$work/sorted" "$work/sql.sorted"
        cmp --quiet "$work/rivus" "$work/sql.sorted" || { echo "DIFFERENT as files: $what"; failed=1; }
    done
done

for question in "5 60" "3 600" "10 300" "1 60" "2 10" "20 3600"; do
    read -r threshold within <<< "$question"
    sql ssh_bruteforce.sql openssh_auth.log year 2023 threshold "$threshold" within "$within" > "$work/sql"
    for parallelism in 1 2 4; do
        "$bin/ssh_bruteforce" "$data/openssh_auth.log" --threshold "$threshold" --within "${within}s" \
            --parallelism "$parallelism" > "$work/rivus"
        compare "$threshold failed logins within ${within}s, parallelism $parallelism"
    done
done
exit "$failed"
