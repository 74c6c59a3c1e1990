#!/usr/bin/env bash
# Checks formats, lints, builds and tests everything, and ends with one line: "N passed, N failed[, N skipped]".
#
#   scripts/test.sh             everything
#   scripts/test.sh --rust      Rust only
#   scripts/test.sh --web       the web client's types and units only
#   scripts/test.sh --browser   the product in Chromium only
#
# Whatever fails, the rest still runs. A step that fails without a failed test in it (a lint, a build) counts as one
# failure. What each step printed is kept in artifacts/test/.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

logs=$root/artifacts/test
passed=0
failed=0
skipped=0
summary=()

# A developer's settings are not the tests' settings.
for name in $(compgen -e NATTERJACK_ || true); do
  case $name in
    NATTERJACK_NATS_SERVER | NATTERJACK_POSTGRES_BIN) ;;
    *) unset "$name" ;;
  esac
done
export CI=${CI:-true} CARGO_TERM_COLOR=never NO_COLOR=1

# counts none|cargo|vitest|node LOG: prints the passed, failed and skipped tests that a log tells of.
counts() {
  case $1 in
    cargo)
      awk '/^test result: /{ p += $4; f += $6; s += $8 } END { print p + 0, f + 0, s + 0 }' "$2"
      ;;
    node)
      awk '($1 == "#" || $1 == "ℹ") && NF == 3 {
             if ($2 == "pass") p += $3
             if ($2 == "fail" || $2 == "cancelled") f += $3
             if ($2 == "skipped" || $2 == "todo") s += $3
           }
           END { print p + 0, f + 0, s + 0 }' "$2"
      ;;
    vitest)
      node -e '
        const r = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
        console.log(r.numPassedTests, r.numFailedTests, r.numPendingTests + r.numTodoTests);
      ' "$logs/vitest.json" 2>/dev/null || echo "0 0 0"
      ;;
    *) echo "0 0 0" ;;
  esac
}

# step NAME COUNTED COMMAND...: runs a command, keeps its output, adds up its tests. Fails as the command does.
step() {
  local name=$1 counted=$2 start=$SECONDS status=0 p f s
  local log=$logs/$name.log
  shift 2
  say "$name: $*"
  "$@" </dev/null 2>&1 | tee "$log" || status=$?
  read -r p f s <<<"$(counts "$counted" "$log")"
  if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
    f=1
  fi
  if [ "$status" -eq 0 ] && [ "$counted" != none ] && [ $((p + f + s)) -eq 0 ]; then
    say "$name: no test was counted"
    f=1
  fi
  passed=$((passed + p))
  failed=$((failed + f))
  skipped=$((skipped + s))
  summary+=("$(printf '%-14s %5d s  %5d passed  %3d failed  %3d skipped' "$name" $((SECONDS - start)) "$p" "$f" "$s")")
  return "$((f > 0))"
}

rust() {
  step format none cargo fmt --all --check || true
  step clippy none cargo clippy --workspace --all-targets --locked -- -D warnings || true
  if step build none cargo build --workspace --locked; then
    step rust cargo cargo test --workspace --locked --no-fail-fast || true
    step schemathesis none "$root/scripts/schemathesis.sh" || true
  fi
  # Licences and sources are tested in any case (crates/testkit/tests/layers.rs); cargo-deny sees more.
  if cargo deny --version >/dev/null 2>&1; then
    step dependencies none cargo deny --locked check licenses bans sources || true
  fi
}

web() {
  step web-install none web_install || return 0
  step web-check none npm --prefix web run check || true
  rm -f "$logs/vitest.json"
  step web-units vitest npm --prefix web test -- --reporter=default --reporter=json \
    --outputFile.json="$logs/vitest.json" || true
}

browser() {
  step web-build none web_build || return 0
  step servers none cargo build --locked -p natterjack || return 0
  step browser node npm --prefix web run e2e || true
  E2E_STREAMS=3 step browser-3 node npm --prefix web run e2e || true
}

parts=()
for option in "$@"; do
  case $option in
    --rust | --web | --browser) parts+=("${option#--}") ;;
    *) die "unknown option $option (known: --rust, --web, --browser)" ;;
  esac
done
[ ${#parts[@]} -gt 0 ] || parts=(rust web browser)

cd "$root"
mkdir -p "$logs"
need_cargo
need_node
for part in "${parts[@]}"; do
  case $part in
    rust) need_nats && need_postgres && need_faketime && need_schemathesis ;;
    browser) need_nats && need_postgres && need_chromium ;;
  esac
done
for part in "${parts[@]}"; do
  "$part"
done

printf '\n'
printf '%s\n' "${summary[@]}"
printf 'total %d s\n' "$SECONDS"
result="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || result+=", $skipped skipped"
printf '%s\n' "$result"
[ "$failed" -eq 0 ]
