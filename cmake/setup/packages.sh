# Distribution packages (Debian 12 and later, Ubuntu 24.04 and later). Sourced by ./run.

QC2C_PACKAGES=(
  build-essential cmake ninja-build ccache pkg-config git ca-certificates patchelf
  python3 python3-venv
  libgrpc++-dev protobuf-compiler-grpc protobuf-compiler libprotobuf-dev libabsl-dev
  libspdlog-dev prometheus-cpp-dev libcpp-httplib-dev
  nlohmann-json3-dev libyaml-cpp-dev libcli11-dev libxxhash-dev libzstd-dev zlib1g-dev
  libgtest-dev libgmock-dev libbenchmark-dev
)
# The tokenizer crate's lock file and its dependencies need this much.
RUST_MINIMUM=1.85

missing_packages() {
  local name installed
  # One query for all: names that dpkg does not know are absent from its answer, and fail the query.
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${QC2C_PACKAGES[@]}" 2>/dev/null |
    sed -n 's/^installed //p' || true)
  for name in "${QC2C_PACKAGES[@]}"; do
    grep -qxF -- "$name" <<<"$installed" || echo "$name"
  done
}

rust_is_new_enough() {
  local version
  version=$("$1" --version 2>/dev/null) || return 1
  version_at_least "$(cut -d ' ' -f 2 <<<"$version")" "$RUST_MINIMUM"
}

# Sets QC2C_CARGO to a cargo whose rustc is new enough. Versioned packages (Ubuntu) keep theirs in a folder
# of their own, which must come first on PATH, since cargo looks for rustc there.
find_cargo() {
  local folder
  export QC2C_CARGO PATH
  if command -v cargo >/dev/null && command -v rustc >/dev/null && rust_is_new_enough rustc; then
    QC2C_CARGO=$(command -v cargo)
    return 0
  fi
  while read -r folder; do
    if [[ -x $folder/cargo ]] && rust_is_new_enough "$folder/rustc"; then
      PATH=$folder:$PATH
      QC2C_CARGO=$folder/cargo
      return 0
    fi
  done < <(compgen -G '/usr/lib/rust-1.*/bin' | sort -rV)
  return 1
}

# The packages that bring a new enough cargo here: the distribution's own, a versioned one (Ubuntu), or
# the one that Debian keeps current for its browsers. Nothing if no package does.
cargo_packages() {
  local candidate version
  candidate=$(apt-cache policy rustc 2>/dev/null | awk '/Candidate:/ { print $2 }')
  if [[ $candidate == [0-9]* ]] && version_at_least "$candidate" "$RUST_MINIMUM"; then
    echo cargo rustc
    return
  fi
  version=$(apt-cache pkgnames cargo-1. 2>/dev/null | sed -n 's/^cargo-\(1\.[0-9]*\)$/\1/p' | sort -V | tail -n 1)
  if [[ -n $version ]] && version_at_least "$version" "$RUST_MINIMUM"; then
    echo "cargo-$version rustc-$version"
    return
  fi
  grep -q '^ID=ubuntu' /etc/os-release || echo cargo-web rustc-web
}

# Sets the caller's `rust`.
need_cargo_packages() {
  read -ra rust < <(cargo_packages) ||
    fail 69 "no package brings cargo $RUST_MINIMUM or newer: Ubuntu 24.04 has it in noble-updates (apt-get update finds \
cargo-1.85); or put another cargo and rustc on PATH"
}

ensure_packages() {
  local missing=() rust=() cargo_missing=no
  if ! command -v dpkg-query >/dev/null; then
    say "no dpkg here: packages are installed only on Debian and Ubuntu; going on with what there is"
    find_cargo || fail 69 "needs cargo and rustc $RUST_MINIMUM or newer on PATH"
    return
  fi
  mapfile -t missing < <(missing_packages)
  find_cargo || cargo_missing=yes
  [[ ${#missing[@]} -eq 0 && $cargo_missing == no ]] && return

  if [[ $(id -u) -ne 0 ]]; then
    [[ $cargo_missing == yes ]] && need_cargo_packages
    say "these distribution packages are missing; install them as root, then run this again:"
    missing+=("${rust[@]}")
    printf '  apt-get update && apt-get install -y --no-install-recommends %s\n' "${missing[*]}" >&2
    exit 69
  fi

  local log=$QC2C_CACHE/packages.log
  say "looking up distribution packages (apt-get update)"
  with_heartbeat "$log" true apt-get -o DPkg::Lock::Timeout=300 update ||
    fail 69 "apt-get update failed: is there a network?"
  [[ $cargo_missing == yes ]] && need_cargo_packages
  missing+=("${rust[@]}")
  say "installing ${#missing[@]} distribution packages: ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive with_heartbeat "$log" true \
    apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}" ||
    fail 69 "apt-get could not install the packages"
  hash -r
  find_cargo || fail 69 "needs cargo and rustc $RUST_MINIMUM or newer, also after installing packages"
}
