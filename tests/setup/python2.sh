# Finds Python 2.7, which the Autobahn test suite needs, and installs the suite into a folder of ours.

# Prints the path of a Python 2.7 that has pip, if there is one.
find_python2() {
    local candidate
    for candidate in python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7; do
        # What pyenv puts on the path works only where a version is chosen, so it is asked for the real thing.
        if "$candidate" -c 'import sys, pip; assert sys.version_info[:2] == (2, 7)' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}

no_python2() {
    cat >&2 <<'END'
!!
!! The Autobahn test suite does not run: it needs Python 2.7 with pip, and there is none here.
!! Install it: pyenv install 2.7.18, or your system's python2.7, and put python2.7 on the PATH.
!!
END
}

# install_autobahn PYTHON FOLDER: nothing outside of the folder is changed.
install_autobahn() {
    local wanted=tests/autobahn/requirements.txt
    cmp -s "$wanted" "$2/requirements.txt" && return
    echo "installing the Autobahn test suite into $2"
    rm -rf "$2"
    "$1" -m pip install --quiet --no-warn-script-location --disable-pip-version-check --no-deps --target "$2" \
        --requirement "$wanted" 2>&1 | grep -v DEPRECATION || [ "${PIPESTATUS[0]}" -eq 0 ]
    cp "$wanted" "$2/requirements.txt"
}
