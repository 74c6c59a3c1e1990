#!/usr/bin/env bash
# Breaks every part of a whole site while people chat, and says whether a promise was broken (docs/reliability.md).
#
#   scripts/chaos.sh [--minutes N] [--seed S] [--nodes 1|3] [--pages P] [--json FILE]
#
# Most clients are the testkit's; some are pages with the product's own library, under Node (`--pages 0`: none).
# Prints the seed and a table; exits with 1 when anything is wrong, and keeps histories and logs in artifacts/chaos/ then.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

need_cargo
need_nats
need_postgres
need_node
web_install
say "building as it is shipped (the first time takes minutes)"
cargo build --release --locked --manifest-path "$root/Cargo.toml" \
  -p natterjack-front-bin -p natterjack-projector-bin -p natterjack-testkit
PATH=$tools/bin:$PATH exec "${CARGO_TARGET_DIR:-$root/target}/release/chaos" --keep "$root/artifacts/chaos" --pages 6 "$@"
