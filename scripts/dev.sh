#!/usr/bin/env bash
# Builds the product and runs it, with a private nats-server and Postgres: `natterjack up`.
# Options go to it: scripts/dev.sh --fronts 2
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

need_cargo
need_node
need_nats
need_postgres
say "building the web client"
web_build
say "building the servers (the first time takes minutes)"
cargo build --manifest-path "$root/Cargo.toml" -p natterjack
cd "$root"
export NATTERJACK_WEB_DIR=${NATTERJACK_WEB_DIR:-$root/web/dist}
exec "${CARGO_TARGET_DIR:-$root/target}/debug/natterjack" up "$@"
