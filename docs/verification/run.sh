#!/usr/bin/env bash
# Compares the examples with SQL: the same questions put to SQLite, which shares no code with Rivus.
#
#   docs/verification/run.sh DATA_DIR     with DATA_DIR/apache_access.log and DATA_DIR/openssh_auth.log
#
# Prints a line per question, and the differences if there are any; fails if there are, or if a question has
# no rows for an answer. Builds the examples first, as `cargo test` would.
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
cargo build --quiet --locked --workspace --profile test --example top_pages --example ssh_bruteforce
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
# asked WHAT: how many rows SQL has for an answer. None would compare nothing.
asked() {
    local rows
    rows=$(wc -l < "$work/sql")
    echo "$rows rows: $1"
    [ "$rows" -gt 0 ] || { echo "NO ROWS: $1"; failed=1; }
}
# compare WHAT: the rows of SQL and of Rivus, whatever their order.
compare() {
    diff <(LC_ALL=C sort "$work/sql") <(LC_ALL=C sort "$work/rivus") || { echo "DIFFERENT: $1"; failed=1; }
}

for question in "3600 600 3" "600 60 5" "86400 3600 10" "300 300 1" "120 300 2"; do
    read -r size slide top <<< "$question"
    what="top $top pages of each ${size}s, every ${slide}s"
    sql top_pages.sql apache_access.log size "$size" slide "$slide" top "$top" > "$work/sql"
    asked "$what"
    for parallelism in 1 2 4; do
        "$bin/top_pages" "$data/apache_access.log" --size "${size}s" --slide "${slide}s" --top "$top" \
            --parallelism "$parallelism" --out "$work/out" > "$work/rivus"
        compare "$what, parallelism $parallelism"
        cat "$work"/out/*.csv > "$work/rivus"
        compare "$what, parallelism $parallelism, as files"
        rm -r "$work/out"
    done
done

for question in "5 60" "3 600" "10 300" "1 60" "2 10" "12 3600"; do
    read -r threshold within <<< "$question"
    what="$threshold failed logins within ${within}s"
    sql ssh_bruteforce.sql openssh_auth.log year 2023 threshold "$threshold" within "$within" > "$work/sql"
    asked "$what"
    for parallelism in 1 2 4; do
        "$bin/ssh_bruteforce" "$data/openssh_auth.log" --threshold "$threshold" --within "${within}s" \
            --parallelism "$parallelism" > "$work/rivus"
        compare "$what, parallelism $parallelism"
    done
done
[ "$failed" -ne 0 ] || echo "Rivus has the same rows, at parallelism 1, 2 and 4"
exit "$failed"
