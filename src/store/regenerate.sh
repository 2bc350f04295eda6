#!/bin/sh
# Writes what the checked SQL macros need to compile without a database, into src/store/.sqlx or the folder given.
# DATABASE_URL: a Postgres 15 database made by the migrations. `cargo xtask gen` starts one and runs this.
set -eu
: "${DATABASE_URL:?set it to a Postgres 15 database made by the migrations}"
cd "$(dirname "$0")"
folder="${1:-$PWD/.sqlx}"
mkdir -p "$folder"
rm -f "$folder"/query-*.json
# Macros run only in code that is compiled anew.
touch src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$folder" cargo check --quiet --package store
