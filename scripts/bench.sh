#!/usr/bin/env bash
# Builds the product as it is shipped and measures it: `natterjack bench`.
#
#   scripts/bench.sh [--quick] [--json FILE] [SCENARIO...]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

need_cargo
need_nats
need_postgres
say "building for speed (the first time takes minutes)"
cargo build --release --locked --manifest-path "$root/Cargo.toml" --workspace
PATH=$tools/bin:$PATH exec "${CARGO_TARGET_DIR:-$root/target}/release/natterjack" bench "$@"
