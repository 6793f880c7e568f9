# ./dev test, fuzz, lint. Every suite prints one line and adds to the sums of the closing line. One runs after the other, each on all CPUs: so
# a line, and what a failure prints, belongs to one suite.
passed=0
failed=0
skipped=0
hearings=no  # whether a test that fails is run once more, alone
flaky=()     # the tests that failed beside others and passed alone
most_flaky=3 # of one run
again=()     # the tests that are to run now, instead of all; alone

# suite LABEL LOG COMMAND...: like step, and counts. The numbers come from what ctest, pytest and our gates say at the end.
suite() {
    local log=$logs/$2.log rc=0 good bad left
    memory=$logs/$2.pytest # pytest's, of what failed
    rm -rf "$memory"
    step "$@" || rc=$?
    read -r good bad left < <("$venv/bin/python" tools/dev/count "$log" $rc)
    skipped=$((skipped + left))
    [ "$left" -eq 0 ] || "$venv/bin/python" tools/dev/count --skipped "$log"
    if [ "$bad" -ne 0 ]; then
        say "--- the end of $log:"
        tail -n 30 "$log" | sed 's/^/    /'
        if second_hearing "$@"; then
            good=$((good + bad))
            bad=0
        fi
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
}

# second_hearing LABEL LOG COMMAND...: 0 when each test of the suite that failed passes, run alone.
second_hearing() {
    local name=$2 names test
    [ "$hearings" = yes ] || return 1
    case $3 in
        run_ctest) names=$("$venv/bin/python" tools/dev/hearing "$logs/$name.log") ;;
        run_pytest*) names=$("$venv/bin/python" tools/dev/hearing "$logs/$name.log" "$memory/v/cache/lastfailed") ;;
        *) return 1 ;;
    esac || {
        say "    $names"
        return 1
    }
    mapfile -t names <<<"$names"
    if [ $((${#flaky[@]} + ${#names[@]})) -gt $most_flaky ]; then
        say "    no second hearing: too many in this run"
        return 1
    fi
    again=("${names[@]}")
    step "once more, alone: ${#names[@]} of them" "$name.again" "${@:3}" || {
        again=()
        tail -n 30 "$logs/$name.again.log" | sed 's/^/    /'
        return 1
    }
    again=()
    for test in "${names[@]}"; do flaky+=("$test (failed beside others, passed alone; its first log: $logs/$name.log)"); done
}

# What a sanitizer must do for its finding to count: end the program with a status that no test expects.
sanitizer_environment() {
    export ASAN_OPTIONS=exitcode=86:abort_on_error=0:detect_stack_use_after_return=1:strict_string_checks=1
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:exitcode=86
    export TSAN_OPTIONS=exitcode=86:halt_on_error=1:second_deadlock_stack=1:die_after_fork=0
}

# ThreadSanitizer of gcc 12 does not know the address space of a kernel that randomizes more than 28 bits.
placed() {
    if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ] && setarch -R true 2>/dev/null; then setarch -R "$@"; else "$@"; fi
}

# Most of these wait for a death or a deadline most of the time: twice as many as there are CPUs. What was skipped stands in ctest's own log.
run_ctest() {
    local rc=0 which=("${@:2}")
    [ ${#again[@]} -eq 0 ] || which=(-j 1 -R "^($(IFS='|' && echo "${again[*]}"))\$")
    placed ctest --test-dir "$1" --output-on-failure -j $((2 * $(cpus))) "${which[@]}" || rc=$?
    grep -h '^skipped: ' "$1/Testing/Temporary/LastTest.log" || true
    return $rc
}

# Shared out by file, for what a file sets up is set up once; those that build things or start the largest libraries first, or one of them runs
# alone at the end. The processes must name the tests alike, also those with a set as parameter.
export PYTHONHASHSEED=${PYTHONHASHSEED:-$RANDOM}
pytest_command() {
    pytest=("$venv/bin/python" -m pytest -q -rfEs --rootdir "$PWD")
    if [ ${#again[@]} -ne 0 ]; then
        pytest+=(-n 0 -p no:cacheprovider)
    else
        pytest+=(-n $(($(cpus) + 1)) --dist loadfile --no-loadscope-reorder)
        if [ $hearings = yes ]; then pytest+=(-o "cache_dir=$(realpath -m "$memory")"); else pytest+=(-p no:cacheprovider); fi
    fi
}

# run_pytest FOLDER [ARGUMENTS]: all Python tests against what was built there; "${under[@]}" runs them.
under=()
run_pytest() {
    local folder=$1 pytest
    shift
    [ $# -gt 0 ] || set -- tests/packaging tests/python/test_template_libraries.py tests
    [ ${#again[@]} -eq 0 ] || set -- "${again[@]}"
    pytest_command
    SNAKEPIT_BUILD="$PWD/$folder" SNAKEPIT_SOURCE="$PWD" SNAKEPIT_PYTHON="$PWD/$venv/bin/python" PYTHONPATH="$PWD/$folder/python" \
        placed "${under[@]}" "${pytest[@]}" --timeout=300 "$@"
}

# The extension with sanitizers: only an interpreter that has their library loaded first can import it. They find what throws C++'s exceptions
# only where that is loaded as early; other extensions of a test throw.
run_pytest_sanitized() {
    local folder=$1 library pytest
    library="$(gcc -print-file-name="$2") $(gcc -print-file-name=libstdc++.so.6)"
    shift 2
    [ ${#again[@]} -eq 0 ] || set -- "${again[@]}"
    pytest_command
    SNAKEPIT_BUILD="$PWD/$folder" SNAKEPIT_SOURCE="$PWD" SNAKEPIT_PYTHON="$PWD/$venv/bin/python" PYTHONPATH="$PWD/$folder/python-sanitized" \
        PYTHONMALLOC=malloc ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" LD_PRELOAD="$library" \
        placed "${pytest[@]}" --timeout=600 -m "not plain" "$@"
}

# The integration tests of a folder under a profile of tests/integration/c/confined.c. Nobody has no home and may write into no tree.
run_pytest_confined() {
    local under=("$1/tests/integration/c/confined" "$2") home rc=0
    home=$(mktemp -d)
    chmod 777 "$home"
    HOME=$home TMPDIR=$home PYTHONDONTWRITEBYTECODE=1 run_pytest "$1" tests/integration || rc=$?
    rm -rf "$home"
    return $rc
}

# test_suites PRESET: everything that runs against one build.
test_suites() {
    local preset=$1 folder
    folder=$(folder_of "$preset")
    suite "$preset: unit and fault tests" "ctest-$preset" run_ctest "$folder"
    case $preset in
        asan | tsan)
            suite "$preset: integration tests" "integration-$preset" run_pytest "$folder" tests/integration
            suite "$preset: Python extension" "python-$preset" run_pytest_sanitized "$folder" "lib$preset.so" \
                tests/python/test_template_libraries.py tests/python
            say "    left out, for little of it is instrumented: the pure codec's modes, templates of large libraries; other builds run them"
            ;;
        *) suite "$preset: Python and integration tests" "pytest-$preset" run_pytest "$folder" ;;
    esac
}

fuzz_targets() { for f in tests/fuzz/fuzz_*.c; do [ -e "$f" ] && basename "$f" .c; done; }

# fuzz_one TARGET SECONDS: new inputs stay in .cache/fuzz, findings in .cache/fuzz/found.
fuzz_one() {
    local target=$1 seconds=$2 corpus
    corpus=tests/fuzz/corpus/${1#fuzz_}
    [ -d "$corpus" ] || corpus=tests/fuzz/corpus/$1
    mkdir -p ".cache/fuzz/$target" .cache/fuzz/found
    # shellcheck disable=SC2046
    "build-fuzz/tests/fuzz/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3072 -print_final_stats=1 -artifact_prefix=.cache/fuzz/found/ \
        ".cache/fuzz/$target" $([ -d "$corpus" ] && echo "$corpus")
}

# fuzz_each SECONDS TARGET...: as many at a time as there are CPUs; each has a log of its own.
fuzz_each() {
    local seconds=$1 good=0 bad=0 target
    shift
    printf '%s\n' "$@" | xargs -P "$(cpus)" -I '{}' bash -c '. tools/dev/common.sh; . tools/dev/test.sh
        fuzz_one {} '"$seconds"' >"$logs/{}.log" 2>&1; echo $? >"$logs/{}.status"'
    for target in "$@"; do
        if [ "$(cat "$logs/$target.status")" = 0 ]; then
            good=$((good + 1))
            say "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$target.log") inputs"
        else
            bad=$((bad + 1))
            say "$target: failed ($logs/$target.log)"
            tail -n 25 "$logs/$target.log"
        fi
        rm -f "$logs/$target.status"
    done
    say "$good passed, $bad failed"
    [ $bad -eq 0 ]
}

fuzz_all() { # SECONDS TARGET...
    build_preset fuzz
    suite "fuzzing, $1 s for each of $(($# - 1)) targets" fuzz fuzz_each "$@"
}

verb_fuzz() {
    local seconds=${1:-60} targets
    targets=$(fuzz_targets)
    [ $# -lt 2 ] || targets=fuzz_${2#fuzz_}
    verb_setup test
    sanitizer_environment
    # shellcheck disable=SC2086
    fuzz_all "$seconds" $targets
    closing_line
}

closing_line() {
    local test
    for test in "${flaky[@]}"; do say "FLAKY: $test"; done
    say "$passed passed, $failed failed, $skipped skipped$([ ${#flaky[@]} -eq 0 ] || echo ", ${#flaky[@]} flaky")"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

test_named() {
    local name=$1
    build_preset release
    suite "C tests with '$name'" ctest-named run_ctest build -R "$name" --no-tests=ignore
    suite "Python tests with '$name'" pytest-named run_pytest build tests -n 0 -k "$name"
    closing_line
}

test_everything() { # quick|all
    local extent=$1 targets profile seconds=60
    build_preset release
    test_suites release
    suite "gates, and bad examples that they must reject" gates "$venv/bin/python" tools/gates --build build
    suite "seeded bugs that a test must catch" mutation "$venv/bin/python" tools/check_mutation "--$extent"
    build_preset asan
    test_suites asan
    if [ "$extent" = all ]; then
        build_preset clang
        test_suites clang
        build_preset tsan
        test_suites tsan
        for profile in container old_kernel unprivileged; do
            suite "integration tests, $profile" "integration-$profile" run_pytest_confined build "$profile"
        done
    fi
    targets=$(fuzz_targets)
    if [ -n "$targets" ]; then
        [ "$extent" = all ] || seconds=$((60 / $(wc -w <<<"$targets")))
        # shellcheck disable=SC2086
        fuzz_all "$seconds" $targets
    fi
}

verb_test() {
    local extent=quick name=
    hearings=yes
    while [ $# -gt 0 ]; do
        case $1 in
            --all) extent=all hearings=no ;;
            --strict) hearings=no ;;
            -*)
                echo "dev: test has no option '$1' (--all --strict)" >&2
                exit 2
                ;;
            *) name=$1 hearings=no ;;
        esac
        shift
    done
    verb_setup test
    setup_libraries libraries
    setup_libraries voice model
    [ "$extent" = quick ] || setup_libraries heavy
    sanitizer_environment
    if [ -n "$name" ]; then
        test_named "$name"
        return
    fi
    test_everything $extent
    say "$((SECONDS / 60)) minutes $((SECONDS % 60)) seconds"
    closing_line
}

verb_lint() {
    local fix=${1:-} files
    verb_setup lint
    build_preset release product
    mapfile -t files < <(git ls-files '*.c' '*.h' ':!tests/lint/bad')
    if [ "$fix" = --fix ]; then
        clang-format -i "${files[@]}"
        "$venv/bin/ruff" check -q --fix
        "$venv/bin/ruff" format -q
    fi
    suite "clang-format" lint-format clang-format --dry-run -Werror "${files[@]}"
    suite "ruff check" lint-ruff "$venv/bin/ruff" check
    suite "ruff format" lint-ruff-format "$venv/bin/ruff" format --check
    suite "clang-tidy" lint-tidy tidy
    closing_line
}

tidy() { git ls-files 'src/*.c' 'cli/*.c' 'examples/*.c' | xargs -P "$(cpus)" -n 4 clang-tidy -p build --quiet --extra-arg=-Wno-ignored-optimization-argument; }
