#!/usr/bin/env bash
# Asks a whole site of its own everything that the OpenAPI document allows, and much that it does not: no answer may be a
# failure of the server, and none may be one that the document does not tell of.
#
#   scripts/schemathesis.sh            with the programs in target/debug, which have to be built
#
# SCHEMATHESIS_EXAMPLES (12) cases for each operation, from SCHEMATHESIS_SEED (1).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

need_schemathesis
need_nats
need_postgres

data=$(mktemp -d)
log=$data/up.log
site=

finish() {
  if [ -n "$site" ]; then
    kill -INT "$site" 2>/dev/null || true
    wait "$site" 2>/dev/null || true
  fi
  rm -rf "$data"
}
trap finish EXIT

# Limits out of the way: what is looked for is not that they hold.
NATTERJACK_REQUESTS_PER_SECOND=1000000 NATTERJACK_AUTH_PER_MINUTE=1000000 NATTERJACK_SEARCHES_PER_MINUTE=1000000 \
  NATTERJACK_READ_WAIT_MS=50 NATTERJACK_ARGON2_MEMORY_KIB=8 NATTERJACK_ARGON2_PASSES=1 \
  "$root/target/debug/natterjack" up --data "$data/site" >"$log" 2>&1 &
site=$!
url=
for _ in $(seq 600); do
  url=$(grep -oE 'http://127\.0\.0\.1:[0-9]+' "$log" | head -n 1 || true)
  [ -z "$url" ] || break
  kill -0 "$site" 2>/dev/null || { cat "$log" >&2; die "the site does not start"; }
  sleep 0.1
done
[ -n "$url" ] || { cat "$log" >&2; die "the site does not start"; }

# Prints the access token of a new person, and a room of theirs.
person() {
  python3 - "$url" "$1" <<'PYTHON'
import json, sys, urllib.request

url, name = sys.argv[1:]

def post(path, body, token=None):
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
    return json.load(urllib.request.urlopen(request))

token = post("/v1/auth/register", {"username": name, "password": "correct horse"})["access_token"]
room = post("/v1/rooms", {"name": "Marsh", "visibility": "public"}, token)["room"]
print(token, room)
PYTHON
}

# What ends the session comes last, with a session of its own.
ends_session='/v1/auth/logout|/v1/me/(password|deactivate|sessions)|/v1/sessions'

ask() {
  local token room
  read -r token room < <(person "$1")
  shift
  # Nearly every id that is made up is nobody's.
  printf 'hooks = "%s"\n[parameters]\n"path.room" = "%s"\n' "$root/scripts/schemathesis_hooks.py" "$room" \
    >"$data/schemathesis.toml"
  "$tools/schemathesis/bin/schemathesis" --config-file "$data/schemathesis.toml" run "$url/v1/openapi.json" --header "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --max-examples "${SCHEMATHESIS_EXAMPLES:-12}" --seed "${SCHEMATHESIS_SEED:-1}" \
    --phases examples,coverage,fuzzing --continue-on-failure --warnings off --workers 2 --no-color "$@"
}

# It keeps what it found where it runs.
cd "$data"
status=0
ask ada --exclude-path-regex "$ends_session" || status=$?
ask bob --include-path-regex "$ends_session" || status=$?
exit "$status"
