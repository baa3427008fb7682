# Makes sure that there is Python 3 with venv, and installs pinned packages into a folder of ours.

need_python3() {
    python3 -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 10)' 2>/dev/null ||
        install_debian python3 python3-venv ||
        missing "Python 3.10 or newer with venv" "https://www.python.org"
    python3 --version
}

# install_python3 REQUIREMENTS FOLDER: nothing outside of the folder is changed.
install_python3() {
    cmp -s "$1" "$2/requirements.txt" && return
    echo "installing what $1 names into $2"
    rm -rf "$2"
    python3 -m venv "$2"
    "$2/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$1"
    cp "$1" "$2/requirements.txt"
}
