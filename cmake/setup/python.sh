# The private Python environment: libtorch, the CUDA compiler, the reference implementation, linters.
# It is named by what it contains and shared by every checkout of this user. Sourced by ./run.

PYTHON_MINIMUM=3.11

# The system's own interpreter first: one from a version switcher may lack venv or vanish.
base_python() {
  local python
  for python in /usr/bin/python3 "$(command -v python3 || true)"; do
    if [[ -x $python ]] && "$python" -c 'import ensurepip, venv' 2>/dev/null &&
      version_at_least "$(python_version "$python")" "$PYTHON_MINIMUM"; then
      echo "$python"
      return
    fi
  done
  return 1
}

python_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

venv_name() {
  local digest
  digest=$({ cat "$QC2C_ROOT/cmake/requirements.txt" && echo "python $1"; } | sha256sum)
  echo "venv-${digest:0:12}"
}

fill_venv() {
  local python=$1 unfinished=$2
  "$python" -m venv --prompt qc2c "$unfinished" &&
    "$unfinished/bin/python" -m pip install --disable-pip-version-check --no-input \
      --progress-bar off --no-compile -r "$QC2C_ROOT/cmake/requirements.txt"
}

# Fetching comes first and leaves nothing in the folder yet: pip's last line says where it is.
venv_progress() {
  echo "$(du -sh "$QC2C_UNFINISHED" 2>/dev/null | cut -f 1) of about 5.4G; $(tail -n 1 "$QC2C_UNFINISHED.log" | cut -c 1-70)"
}

make_venv() {
  local python=$1 venv=$2
  QC2C_UNFINISHED=$venv.unfinished
  rm -rf "$QC2C_CACHE"/venv-*.unfinished
  say "installing Python packages into $venv (once; about a minute on a fast network)"
  with_heartbeat "$QC2C_UNFINISHED.log" venv_progress fill_venv "$python" "$QC2C_UNFINISHED" ||
    fail 69 "the Python environment could not be made: is there a network?"
  # Scripts name the interpreter by its path, which the rename below changes.
  grep -rlIF "$QC2C_UNFINISHED" "$QC2C_UNFINISHED/bin" "$QC2C_UNFINISHED/pyvenv.cfg" |
    xargs -r sed -i "s|$QC2C_UNFINISHED|$venv|g"
  mv "$QC2C_UNFINISHED" "$venv"
  mv "$QC2C_UNFINISHED.log" "$venv.log"
}

ensure_python() {
  local python version
  if [[ -z ${QC2C_VENV:-} ]]; then
    python=$(base_python) ||
      fail 69 "needs Python $PYTHON_MINIMUM or newer with venv (package python3-venv)"
    version=$(python_version "$python")
    QC2C_VENV=$QC2C_CACHE/$(venv_name "$version")
    if [[ ! -d $QC2C_VENV ]]; then
      (
        flock --nonblock 9 || { say "waiting for another ./run that installs Python packages" && flock 9; }
        [[ -d $QC2C_VENV ]] || make_venv "$python" "$QC2C_VENV" 9>&-
      ) 9>"$QC2C_CACHE/venv.lock"
    fi
  fi
  [[ -x $QC2C_VENV/bin/python ]] || fail 69 "no Python at QC2C_VENV=$QC2C_VENV (expected bin/python in it)"
  QC2C_PYTHON=$QC2C_VENV/bin/python
  export QC2C_VENV QC2C_PYTHON
}
