# ./dev setup [LEVEL]: system packages by apt-get, Python packages into .venv. Says what and why before it does it, touches nothing that is there,
# and without root prints the one command to run. Levels: demo < test < lint.
venv=.venv

# level | Debian and Ubuntu package | how to see that it is there | why
packages() {
    cat <<'TXT'
demo|gcc|command -v gcc|compiles the library
demo|libc6-dev|test -e /usr/include/stdio.h|headers of the C library
demo|cmake|command -v cmake|describes the build
demo|ninja-build|command -v ninja|runs the build
demo|python3|find_python any|runs the workers
demo|python3-dev|find_python headers|the C extension of the workers is compiled against it
demo|python3-venv|find_python venv|keeps our Python packages inside the tree
test|libcmocka-dev|test -e /usr/include/cmocka.h|runs the unit tests
test|clang|command -v clang|second compiler, and the one that fuzzes
test|@fuzzer|have_fuzzer|libFuzzer and its sanitizers
test|espeak-ng|command -v espeak-ng|speaks what the example voice listens to
test|nodejs|command -v node|runs the worker written in JavaScript
test|g++|command -v g++|builds a C++ program against what was installed
test|pkg-config|command -v pkg-config|says how such a program is linked
test|dpkg-dev|command -v dpkg-shlibdeps|says what a Debian package depends on
test|file|command -v file|tells programs from other files when a Debian package is made
test|groff-base|command -v groff|reads the manual pages as a reader's man does
test|mandoc|command -v mandoc|finds mistakes in them
test|llvm|command -v llvm-symbolizer|names in the stack traces of a fuzzer
lint|clang-format|command -v clang-format|checks the layout of the C code
lint|clang-tidy|command -v clang-tidy|looks for bugs in the C code
TXT
}

# find_python any|headers|venv: the interpreter that .venv will be made with, on stdout. The system's is preferred: a package can complete it.
find_python() {
    local want=$1 candidate
    for candidate in /usr/bin/python3 "$(command -v python3 2>/dev/null || true)"; do
        [ -n "$candidate" ] && [ -x "$candidate" ] || continue
        "$candidate" - "$want" >/dev/null 2>&1 <<'PY' || continue
import os, sys, sysconfig
assert sys.version_info >= (3, 9)
if sys.argv[1] != "any":
    assert os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))
if sys.argv[1] == "venv":
    import ensurepip, venv
PY
        echo "$candidate"
        return 0
    done
    return 1
}

clang_version() {
    local v
    v=$(clang -dumpversion 2>/dev/null | cut -d. -f1)
    [ -n "$v" ] || v=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9][0-9]*\)$/\1/p' | head -n 1)
    if [ -z "$v" ]; then
        # no package lists yet
        case $(. /etc/os-release && echo "${VERSION_CODENAME:-}") in bookworm) v=14 ;; trixie) v=19 ;; noble) v=18 ;; esac
    fi
    echo "$v"
}

have_fuzzer() { # where Debian and Ubuntu put it differs, so ask the compiler
    local dir
    dir=$(clang -print-resource-dir 2>/dev/null) && ls "$dir"/lib/linux/libclang_rt.fuzzer-*.a >/dev/null 2>&1
}

levels_of() {
    case $1 in
        demo) echo demo ;;
        test) echo 'demo test' ;;
        lint) echo 'demo test lint' ;;
        *)
            echo "dev: there is no level '$1' (demo, test, lint)" >&2
            exit 2
            ;;
    esac
}

# Missing packages of the given levels: name|why a line.
missing_packages() {
    local level package check why
    while IFS='|' read -r level package check why; do
        case " $* " in *" $level "*) ;; *) continue ;; esac
        eval "$check" >/dev/null 2>&1 && continue
        if [ "$package" = @fuzzer ]; then
            # On older Ubuntu it comes with clang itself.
            package=$(clang_version)
            [ -n "$package" ] || continue
            package=libclang-rt-$package-dev
        fi
        echo "$package|$why"
    done < <(packages)
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
may_be_root() { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }

apt_install() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=120)
    # First with the lists that are there; a missing or stale list is why it fails, mostly.
    as_root "${apt[@]}" install --no-install-recommends "$@" && return 0
    as_root "${apt[@]}" update && as_root "${apt[@]}" install --no-install-recommends "$@"
}

setup_system() {
    local lines names
    lines=$(missing_packages "$@")
    [ -n "$lines" ] || return 0
    names=$(cut -d'|' -f1 <<<"$lines" | tr '\n' ' ')
    say "These system packages are missing:"
    while IFS='|' read -r name why; do printf '  %-24s %s\n' "$name" "$why"; done <<<"$lines"
    if ! command -v apt-get >/dev/null; then
        say "There is no apt-get here: install the equivalents by hand, then run this again."
        exit 1
    fi
    if ! may_be_root; then
        say "Installing them needs root. Run this, then the same ./dev command again:"
        say "  sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends ${names% }'"
        exit 1
    fi
    # shellcheck disable=SC2086
    must "installing them with apt-get" apt apt_install $names
}

# The Python packages of a level stand in tools/requirements-LEVEL.txt; a stamp in .venv holds the lists that were installed.
setup_python() {
    local level file wanted python options
    python=$(find_python venv) || {
        say "No Python >= 3.9 with headers and the venv module was found."
        exit 1
    }
    if ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
        say "Python packages go into $venv, made with $python."
        must "making $venv" venv "$python" -m venv --clear "$venv"
    fi
    for level in "$@"; do
        file=tools/requirements-$level.txt
        [ -e "$file" ] || continue
        wanted=$(cksum <"$file")
        [ "$(cat "$venv/.installed-$level" 2>/dev/null)" = "$wanted" ] && continue
        say "Python packages for $level: $(sed -n 's/^\([A-Za-z0-9][^ #]*\).*/\1/p' "$file" | tr '\n' ' ')"
        options=()
        [ "$level" != model ] || options=(--no-deps) # cannot stand in the file
        must "installing them with pip" "pip-$level" "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "${options[@]}" -r "$file"
        printf '%s\n' "$wanted" >"$venv/.installed-$level"
    done
}

# What the benchmark is held against. Nothing depends on it: a row whose peer is missing says so.
setup_peers() {
    (setup_python bench) || say "The rows that need these packages will be skipped."
}

# Whose objects are converted: libraries, or heavy. A test whose library is missing says so.
setup_libraries() {
    (setup_python "$@") || say "The tests that need these packages will be skipped."
}

verb_setup() {
    local levels
    levels=$(levels_of "${1:-test}")
    # shellcheck disable=SC2086
    setup_system $levels
    # shellcheck disable=SC2086
    setup_python $levels
}
