# ./dev build, demo, bench, coverage, soak, clean.

folder_of() { [ "$1" = release ] && echo build || echo "build-$1"; }

# configure PRESET: only where needed, for CMake looks by itself whether its files have changed.
configure() {
    local folder
    folder=$(folder_of "$1")
    if [ ! -e "$folder/build.ninja" ] || ! grep -q "^SNAKEPIT_PYTHON:STRING=$PWD/$venv/bin/python$" "$folder/CMakeCache.txt"; then
        must "configuring $1" "configure-$1" cmake --preset "$1" -DSNAKEPIT_PYTHON="$PWD/$venv/bin/python"
    fi
}

# build_preset PRESET [TARGET...]
build_preset() {
    local preset=$1
    shift
    configure "$preset"
    must "building $preset" "build-$preset" nice ninja -C "$(folder_of "$preset")" "${@:-all}"
}

verb_build() {
    local preset=${1:-release}
    case $preset in
        release | debug | coverage) verb_setup demo ;;
        clang | asan | tsan | fuzz) verb_setup test ;;
        *)
            echo "dev: there is no preset '$preset' (release debug clang asan tsan fuzz coverage)" >&2
            exit 2
            ;;
    esac
    if [ "$preset" = release ]; then build_preset release product; else build_preset "$preset"; fi
}

verb_demo() {
    verb_build
    say ""
    SNAKEPIT_PYTHON="$PWD/$venv/bin/python" exec build/examples/digits "$@"
}

verb_bench() {
    verb_build
    setup_peers
    SNAKEPIT_PYTHON="$PWD/$venv/bin/python" exec build/bench/snakepit-bench "$@"
}

verb_coverage() {
    verb_setup test
    setup_libraries libraries
    setup_libraries voice model
    build_preset coverage
    find build-coverage -name '*.gcda' -delete
    # also a user without rights, in a test, must be able to write his counts: else he says so on the program's stderr
    chmod -R a+rwX build-coverage
    umask 0
    test_suites coverage
    "$venv/bin/python" tools/coverage build-coverage --least 95
}

# One round after the other until the time is up: what shows only once in a hundred runs, shows here.
# A million schedules of the simulator from a seed of its own, then rounds: the storms, a minute each, and every test in random order.
verb_soak() {
    local minutes=30 round=0 end seed=$((RANDOM * 32768 + RANDOM))
    [ "${1:-}" != --minutes ] || shift
    minutes=${1:-$minutes}
    verb_setup test
    build_preset release
    end=$((SECONDS + minutes * 60))
    must "a million schedules from seed $seed" soak-sim build/tests/sim/sim --schedules 1000000 --seed "$seed"
    while [ $SECONDS -lt $end ]; do
        round=$((round + 1))
        say "round $round, $(((end - SECONDS) / 60)) minutes left"
        SNAKEPIT_STORM_SECONDS=60 must "storms" soak-storms ctest --test-dir build -R '^storm' --verbose
        grep -A4 -h 'storm, nets' "$logs/soak-storms.log" | sed 's/^[0-9]*: /    /' || true
        SNAKEPIT_CANCEL_TRIES=10000 must "late and early cancels" soak-cancel ctest --test-dir build -R '^integration.c.cancel$' --output-on-failure
        must "unit tests in random order" soak-unit ctest --test-dir build --schedule-random --output-on-failure -j "$(cpus)"
        must "Python and integration tests" soak-python run_pytest build
        must "200 hosts killed at random moments" soak-hosts env SNAKEPIT_BUILD=build SNAKEPIT_PYTHON="$PWD/$venv/bin/python" \
            "$venv/bin/python" tests/integration/storms/host_killed.py --rounds 200
        must "nothing left behind" soak-left tools/check_left_behind
    done
}

verb_clean() {
    rm -rf build build-* .cache bench/results
    find python examples tests -name __pycache__ -type d -prune -exec rm -rf {} +
    say "removed build*, .cache and bench/results"
}
