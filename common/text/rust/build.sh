#!/usr/bin/env bash
# Builds the crate and leaves its archive at ARCHIVE:
#
#   build.sh CARGO TARGET_FOLDER ARCHIVE
#
# Other checkouts may share the folder in which cargo builds, so that the crates that this one depends on are compiled
# once on a machine; hence the lock and the copy.
set -euo pipefail

cargo=$1 target=$2 archive=$3
mkdir -p "$target"
exec 9>"$target/.qc2c-lock"
flock 9
CARGO_TARGET_DIR=$target "$cargo" build --release --locked --quiet \
  --manifest-path "$(dirname -- "${BASH_SOURCE[0]}")/Cargo.toml"
cp -- "$target/release/libqc2c_text.a" "$archive"
